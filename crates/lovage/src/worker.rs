//! Workers: inside a program that has a client, or as a program of their own.

mod cli;

use std::time::Duration;

use bytes::Bytes;
use lovage_core::{Registry, Retention, StateNeed, States, TaskError};
use lovage_worker::{Queues, QueuesError, Worker};
use tower::layer::util::{Identity, Stack};
use tower::{Layer, Service};

use crate::client::Client;

pub use cli::{Cli, run_cli};
pub use lovage_worker::{
    NotReady, ProcessLane, Run, Runner, RunningWorker, Settings, StartError, Stats,
};

/// A worker inside this program that is being put together: see [`Client::worker`].
#[derive(Debug)]
#[must_use = "nothing runs until it is started"]
pub struct WorkerBuilder<L = Identity> {
    client: Client,
    registry: Option<Registry>,
    states: States,
    settings: Settings,
    queues: Result<(), QueuesError>,
    layer: L,
}

impl Client {
    /// Starts to put together a worker on this client's broker, for all tasks linked into this program.
    ///
    /// ```standalone_crate
    /// # use lovage::prelude::*;
    /// struct Mailer;
    ///
    /// #[task(queue = "mail")]
    /// async fn welcome(name: String, mailer: State<Mailer>) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// let client = Client::connect("memory://").await?;
    /// let worker = client.worker().state(Mailer).concurrency(10).start().await?;
    /// client.send(welcome("Ada")).await?.wait(secs(10)).await?;
    /// worker.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn worker(&self) -> WorkerBuilder {
        WorkerBuilder {
            client: self.clone(),
            registry: None,
            states: States::new(),
            settings: Settings::default(),
            queues: Ok(()),
            layer: Identity::new(),
        }
    }
}

impl<L> WorkerBuilder<L> {
    /// Gives the tasks a state. Whoever takes `State<Client>` is given this client without it.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states = self.states.with(value);
        self
    }

    /// Gives the tasks these states, instead of those given before.
    pub fn states(mut self, states: States) -> Self {
        self.states = states;
        self
    }

    /// Runs these tasks instead of those linked into this program.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Claims from these queues: `mail,default` in strict order, `mail:3,default:1` by weight. Unless set, from each
    /// that one of the tasks is sent to.
    pub fn queues(mut self, queues: &str) -> Self {
        self.queues = queues
            .parse::<Queues>()
            .map(|queues| self.settings.queues = Some(queues));
        self
    }

    /// Runs up to `slots` async bodies, and as many blocking ones, at once.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.settings.concurrency = slots;
        self
    }

    /// Runs up to `threads` cpu bodies at once.
    pub fn cpu_threads(mut self, threads: usize) -> Self {
        self.settings.cpu_threads = threads;
        self
    }

    /// Runs up to `children` bodies of the process lane at once, each in a child process.
    pub fn process_concurrency(mut self, children: usize) -> Self {
        self.settings.process_concurrency = children;
        self
    }

    /// Limits the memory of each child process to `bytes`, unless its task says otherwise.
    pub fn process_memory(mut self, bytes: u64) -> Self {
        self.settings.process_memory = Some(bytes);
        self
    }

    /// Replaces a child process after it has run this many `tasks`.
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.settings.max_tasks_per_child = tasks;
        self
    }

    /// Ends a child process that has been idle for `span`.
    pub fn process_idle(mut self, span: Duration) -> Self {
        self.settings.process_idle = span;
        self
    }

    /// Says where bodies of the process lane run: in tests, on threads.
    pub fn process_lane(mut self, lane: ProcessLane) -> Self {
        self.settings.process_lane = lane;
        self
    }

    /// Lets the worker drain and end after this many `tasks`: [`RunningWorker::outgrown`] says so then, and the program
    /// starts another, or ends as well.
    pub fn max_tasks(mut self, tasks: u64) -> Self {
        self.settings.max_tasks = Some(tasks);
        self
    }

    /// Lets the worker drain and end when this process uses more than so many `bytes` of RAM, as
    /// [`max_tasks`](Self::max_tasks) does.
    pub fn max_rss(mut self, bytes: u64) -> Self {
        self.settings.max_rss = Some(bytes);
        self
    }

    /// Lets others take this worker's tasks after it has been silent for `lease`.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Lets runs go on for `grace` after a shutdown has begun.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.settings.shutdown_grace = grace;
        self
    }

    /// Names the worker for operators.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Holds `tasks` a slot, the running one included, instead of adapting to run times: 1 shares fairly.
    pub fn prefetch(mut self, tasks: u16) -> Self {
        self.settings.prefetch = Some(tasks);
        self
    }

    /// Says which build of the program this is, for reports and the ledger of losses.
    pub fn build_label(mut self, label: impl Into<String>) -> Self {
        self.settings.build = Some(label.into());
        self
    }

    /// Puts tasks that cannot be run off for `grace`: one of unknown name is buried then, and a child process that does
    /// not start counts as a failure.
    pub fn unknown_task_grace(mut self, grace: Duration) -> Self {
        self.settings.unknown_task_grace = grace;
        self
    }

    /// Lets its queues keep only so many dead letters: set when the worker starts, for all workers of the queue.
    pub fn dead_letters(mut self, retention: Retention) -> Self {
        self.settings.dead_letters = Some(retention);
        self
    }

    /// Wraps every run in a tower layer, outside Lovage's own; of two layers the first is the outer one.
    pub fn layer<M>(self, layer: M) -> WorkerBuilder<Stack<M, L>> {
        WorkerBuilder {
            client: self.client,
            registry: self.registry,
            states: self.states,
            settings: self.settings,
            queues: self.queues,
            layer: Stack::new(layer, self.layer),
        }
    }
}

impl<L> WorkerBuilder<L>
where
    L: Layer<Runner>,
    L::Service:
        Service<Run, Response = Bytes, Error = TaskError, Future: Send> + Clone + Send + 'static,
{
    /// Checks everything and starts the worker on this runtime. It does not wait for the broker.
    ///
    /// # Errors
    /// If there is no task, two have one name, one takes a state that is not there, or a setting is out of its limits.
    pub async fn start(self) -> Result<RunningWorker, StartError> {
        self.queues?;
        let registry = match self.registry {
            Some(registry) => registry,
            None => Registry::linked().build()?,
        };
        Worker::builder(self.client.broker().clone(), registry)
            .states(with_client(self.states, &self.client))
            .settings(self.settings)
            .layer(self.layer)
            .start()
            .await
    }
}

/// `states` with `client` for bodies that send.
pub(crate) fn with_client(states: States, client: &Client) -> States {
    if states.has(&StateNeed::of::<Client>()) {
        states
    } else {
        states.with(client.clone())
    }
}
