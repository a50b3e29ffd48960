//! Puts a worker's parts together, starts them, and ends them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use lovage_core::{
    Callbacks, CancellationToken, Membership, QueueName, Registry, RegistryError, States,
    TaskError, secs,
};
use lovage_process::Home;
use tokio::sync::{Notify, mpsc, watch};
use tower::layer::util::{Identity, Stack};
use tower::{Layer, Service};

use crate::announce::tell_tasks;
use crate::callbacks::Callers;
use crate::children::{self, Children, ProcessLaneError};
use crate::fetcher::Queue;
use crate::held::Table;
use crate::lanes::{Body, LANES, LaneState, NARROWEST_FIRST, index};
use crate::layers::Runner;
use crate::lease::Keeper;
use crate::limits::Watch;
use crate::panics;
use crate::pump::{Inputs, Pump, held_max};
use crate::reporter::Reporter;
use crate::run::Run;
use crate::settings::{Queues, QueuesError, Settings, SettingsError};
use crate::shutdown::{self, Command, Commander, Stage};
use crate::stats::{Counters, NotReady, Stats};
use crate::tenure::Seat;
use crate::triage::Tasks;
use crate::trouble::Outages;
use crate::watchdog::Heartbeat;

/// A runtime that runs nothing for longer than this is not alive.
const SILENCE_MAX: Duration = secs(10);
/// Notices that wait for the pump; those that find no room are told again.
const NOTICES_MAX: usize = 256;

/// A worker, before it is started.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts to set up a worker that runs the tasks of `registry` for `broker`.
    pub fn builder<B: Membership>(broker: B, registry: Registry) -> WorkerBuilder<B, Identity> {
        WorkerBuilder {
            broker,
            registry,
            states: States::new(),
            settings: Settings::default(),
            layer: Identity::new(),
            home: Home::default(),
        }
    }
}

/// What a worker is set up with.
#[derive(Debug)]
pub struct WorkerBuilder<B, L> {
    broker: B,
    registry: Registry,
    states: States,
    settings: Settings,
    layer: L,
    home: Home,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A task needs a state that the worker has not.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The queues make no sense.
    #[error(transparent)]
    Queues(#[from] QueuesError),
    /// A setting is out of its limits.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A task runs in child processes, and the program has no entry for them.
    #[error(transparent)]
    ProcessLane(#[from] ProcessLaneError),
    /// The system gives no thread for the lease.
    #[error("cannot start the thread that keeps the lease: {0}")]
    Thread(#[source] io::Error),
}

impl<B, L> WorkerBuilder<B, L> {
    /// Gives the tasks these states, instead of those given before.
    pub fn states(mut self, states: States) -> Self {
        self.states = states;
        self
    }

    /// Gives the tasks one more state.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states = self.states.with(value);
        self
    }

    /// Runs it by these settings, instead of the default ones.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Wraps every run in `layer`, outside Lovage's own; of two layers the first is the outer one.
    pub fn layer<M>(self, layer: M) -> WorkerBuilder<B, Stack<M, L>> {
        WorkerBuilder {
            broker: self.broker,
            registry: self.registry,
            states: self.states,
            settings: self.settings,
            layer: Stack::new(layer, self.layer),
            home: self.home,
        }
    }

    /// Runs the worker in the simulated process `home`: its leases are kept on this runtime then, and not on a thread.
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }
}

impl<B, L> WorkerBuilder<B, L>
where
    B: Membership + Callbacks,
    L: Layer<Runner>,
    L::Service:
        Service<Run, Response = Bytes, Error = TaskError, Future: Send> + Clone + Send + 'static,
{
    /// Checks the settings and starts the worker on this runtime. It does not wait for the broker: a worker that is
    /// started first works when the broker is there, and [`RunningWorker::ready`] says whether it is.
    #[expect(
        clippy::unused_async,
        reason = "starting may come to wait; callers already do"
    )]
    pub async fn start(self) -> Result<RunningWorker, StartError> {
        let Self {
            broker,
            registry,
            states,
            settings,
            layer,
            home,
        } = self;
        settings.check().and_then(|()| settings.check_max_rss())?;
        registry.check_states(&states)?;
        children::check(&registry, &settings)?;
        let tasks = Tasks::new(&registry, states, &settings);
        let queues = queues(&settings, &tasks);
        queues.check()?;
        tell_tasks(&tasks, &queues, &settings);

        let names = queues.names();
        let outages = Arc::new(Outages::new(settings.lease));
        let seat = |name| Arc::new(Seat::new(name, &outages));
        let seats: Arc<[Arc<Seat>]> = names.into_iter().map(seat).collect();
        let shared = Arc::new(Shared::new(Arc::clone(&seats)));
        let held_max = held_max(&settings);
        let (answers, finished) = mpsc::channel(held_max);
        let (notify, notices) = mpsc::channel(NOTICES_MAX);
        let (commander, commands) = watch::channel(None);
        let freed = Arc::new(Notify::new());
        let reporter = Arc::new(Reporter::new(settings.name.clone(), settings.build.clone()));
        let called_back = CancellationToken::new();
        let keeper = Keeper {
            broker: broker.clone(),
            seats,
            lease: settings.lease,
            dead_letters: settings.dead_letters,
            notices: notify,
            reporter: Arc::clone(&reporter),
            heartbeat: Arc::clone(&shared.heartbeat),
            counters: Arc::clone(&shared.counters),
            ended: shared.ended.clone(),
            called_back: called_back.clone(),
            gone: shared.gone.clone(),
            crashed: Arc::clone(&shared.crashed),
            clock: home.clock(),
        };
        keeper.start(&home).map_err(StartError::Thread)?;

        panics::watch();
        let callers = Callers::new(broker.clone(), Arc::clone(&shared.seats));
        let children = Children::new(&settings, Arc::clone(&shared.counters));
        let body = Body::new(&home, &settings, children, Arc::clone(&freed));
        let pump = Pump {
            broker,
            service: layer.layer(Runner::new(body)),
            weighted: matches!(queues, Queues::Weighted(_)),
            queues: pump_queues(&queues, &shared.seats, &tasks),
            tasks,
            lanes: lanes(&settings),
            held_max,
            prefetch: settings.prefetch,
            table: Table::default(),
            stage: Stage::Working,
            counters: Arc::clone(&shared.counters),
            quiet: Arc::clone(&shared.quiet),
            reporter,
            answers,
            exchanges: FuturesUnordered::new(),
            hoard_check: None,
            home: home.clone(),
        };
        let inputs = Inputs {
            finished,
            notices,
            commands,
            freed,
        };
        spawn(&home, pump.run(inputs), Arc::clone(&shared));
        let ended = shared.ended.clone();
        home.spawn(async move {
            let _called_back = called_back.drop_guard();
            callers.run(ended).await;
        });
        let commander = Arc::new(commander);
        if let Some(watch) = Watch::new(&settings, &commander, &shared) {
            home.spawn(watch.run());
        }
        Ok(RunningWorker {
            commander,
            grace: settings.shutdown_grace,
            shared,
        })
    }
}

/// Runs the pump and the heartbeat; the lease thread hears when the pump has ended, also where its runtime is dropped.
fn spawn(home: &Home, pump: impl Future<Output = ()> + Send + 'static, shared: Arc<Shared>) {
    let ended = shared.ended.clone().drop_guard();
    let crash = CrashWatch(Arc::clone(&shared.crashed));
    home.spawn(async move {
        let (_ended, _crash) = (ended, crash);
        pump.await;
    });
    home.spawn(async move {
        tokio::select! {
            biased;
            () = shared.ended.cancelled() => {}
            () = shared.heartbeat.beat() => {}
        }
    });
}

fn queues(settings: &Settings, tasks: &Tasks) -> Queues {
    settings.queues.clone().unwrap_or_else(|| {
        let mut names: Vec<QueueName> = tasks.defs().into_iter().map(|(_, queue)| queue).collect();
        names.sort();
        names.dedup();
        Queues::even(names)
    })
}

fn pump_queues(queues: &Queues, seats: &[Arc<Seat>], tasks: &Tasks) -> Vec<Queue> {
    let defs = tasks.defs();
    let queues = queues.weights().into_iter().zip(seats);
    queues
        .map(|((name, weight), seat)| {
            let of_queue = defs.iter().filter(|(_, queue)| *queue == name);
            let narrowest = of_queue.map(|(def, _)| index(def.lane)).min();
            let lane = NARROWEST_FIRST[narrowest.unwrap_or(NARROWEST_FIRST.len() - 1)];
            Queue::new(name, weight, Arc::clone(seat), lane)
        })
        .collect()
}

fn lanes<T>(settings: &Settings) -> [LaneState<T>; LANES] {
    NARROWEST_FIRST.map(|lane| {
        LaneState::new(match lane {
            lovage_core::Lane::Process => settings.process_concurrency,
            lovage_core::Lane::Cpu => settings.cpu_threads,
            lovage_core::Lane::Blocking | lovage_core::Lane::Async => settings.concurrency,
        })
    })
}

/// What a running worker's parts and its handle look at.
#[derive(Debug)]
pub(crate) struct Shared {
    seats: Arc<[Arc<Seat>]>,
    heartbeat: Arc<Heartbeat>,
    counters: Arc<Counters>,
    quiet: Arc<AtomicBool>,
    /// The limit that ended the worker.
    pub(crate) outgrown: OnceLock<NotReady>,
    /// Cancelled when the pump has ended.
    ended: CancellationToken,
    /// Cancelled when the lease thread has ended as well.
    gone: CancellationToken,
    crashed: Arc<AtomicBool>,
}

/// Notes where it is dropped by a panic: a part of the worker has ended that should not have.
pub(crate) struct CrashWatch(pub(crate) Arc<AtomicBool>);

impl Drop for CrashWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl Shared {
    pub(crate) fn new(seats: Arc<[Arc<Seat>]>) -> Self {
        Self {
            seats,
            heartbeat: Arc::new(Heartbeat::new()),
            counters: Arc::default(),
            quiet: Arc::default(),
            outgrown: OnceLock::new(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
            crashed: Arc::default(),
        }
    }

    pub(crate) fn live(&self) -> bool {
        !self.crashed() && (self.ended.is_cancelled() || self.heartbeat.silence() < SILENCE_MAX)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Whether a panic has ended a part of the worker.
    pub(crate) fn crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    pub(crate) fn ready(&self) -> Result<(), Vec<NotReady>> {
        let mut reasons = Vec::new();
        if self.quiet.load(Ordering::Relaxed) || self.ended.is_cancelled() {
            reasons.push(NotReady::ShuttingDown);
        }
        reasons.extend(self.outgrown.get().cloned());
        let lapsed = self.seats.iter().filter(|seat| !seat.is_good());
        reasons.extend(lapsed.map(|seat| NotReady::NoLease {
            queue: seat.queue.clone(),
        }));
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

/// A worker at work. Dropping it gives everything back at once, in the background.
#[derive(Debug)]
pub struct RunningWorker {
    commander: Arc<Commander>,
    grace: Duration,
    shared: Arc<Shared>,
}

impl RunningWorker {
    /// Ends the worker: claims no more, lets runs end for the grace, gives back the rest without counting an attempt.
    ///
    /// Takes at most the grace and a few seconds, whether the broker answers or not. A body on a thread that ignores
    /// its token may go on until the process ends, while its task is given to another worker.
    ///
    /// # Cancel safety
    /// Cancel safe: the shutdown goes on.
    pub async fn shutdown(&self) {
        self.command(Command::Drain(self.grace)).await;
    }

    /// Ends the worker at once: cancels the runs and gives everything back, within two seconds.
    ///
    /// # Cancel safety
    /// Cancel safe: the shutdown goes on.
    pub async fn shutdown_now(&self) {
        self.command(Command::Now).await;
    }

    async fn command(&self, command: Command) {
        shutdown::command(&self.commander, command);
        self.ended().await;
    }

    /// Waits until the worker has ended, be it by a panic of its own: then it is not [`live`](Self::live).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&self) {
        self.shared.gone.cancelled().await;
    }

    /// Whether the worker can take tasks: it is not shutting down, and its leases are good on all queues.
    ///
    /// # Errors
    /// All the reasons why not.
    pub fn ready(&self) -> Result<(), Vec<NotReady>> {
        self.shared.ready()
    }

    /// Whether the worker runs: `false` if every thread of the async runtime has been blocked for ten seconds, or a panic
    /// has ended a part of the worker.
    pub fn live(&self) -> bool {
        self.shared.live()
    }

    /// What the worker has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The limit of tasks or of memory that this worker has reached, because of which it ends: see
    /// [`Settings::max_tasks`] and [`Settings::max_rss`]. [`ended`](Self::ended) waits for its end.
    pub fn outgrown(&self) -> Option<NotReady> {
        self.shared.outgrown.get().cloned()
    }

    pub(crate) fn commander(&self) -> Weak<Commander> {
        Arc::downgrade(&self.commander)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}
