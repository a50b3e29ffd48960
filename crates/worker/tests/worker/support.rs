//! Tasks, probes and a broker that loses answers, for the worker's tests.

mod callbacks;
mod faulty;

pub(crate) use faulty::{Corruption, Faulty};

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    AsyncBody, Broker, Clock, Envelope, Inspect, Lane, ManualClock, QueueName, Registry, State,
    StateNeed, States, SyncBody, Task, TaskContext, TaskDef, TaskError, TaskId, TaskName,
    TaskOptions, mins, ms, secs,
};
use lovage_worker::{Settings, Worker, WorkerBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower::layer::util::Identity;

/// What bodies tell the test, and wait for.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) started: AtomicUsize,
    pub(crate) finished: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
    /// Async bodies take a permit.
    pub(crate) gate: Semaphore,
    door: Mutex<bool>,
    opened: Condvar,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            started: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            door: Mutex::new(false),
            opened: Condvar::new(),
        }
    }
}

impl Probe {
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    /// Lets the bodies on threads go on.
    pub(crate) fn open(&self) {
        *self.door.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait_for_the_door(&self) {
        let door = self.door.lock().unwrap();
        drop(self.opened.wait_while(door, |open| !*open).unwrap());
    }
}

/// A body that does what its message says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Act {
    /// Ends.
    Succeed,
    /// Fails.
    Fail,
    /// Fails for good.
    FailForGood,
    /// Puts itself off for so many milliseconds, the first time; after it was told to stop, if it waits for that.
    Snooze { ms: u64, when_told: bool },
    /// Panics with a text.
    PanicWithText,
    /// Panics with a value that panics again when it is dropped.
    PanicWithBomb,
    /// Its future panics when it is dropped.
    PanicInDrop,
    /// Waits for a permit, whatever its token says.
    Wait,
    /// Waits for a permit, and fails when its token is cancelled.
    WaitPolitely,
    /// Takes four times what counts as short.
    Dawdle,
    /// Blocks its thread of the runtime until the door opens.
    Block,
}

impl Task for Act {
    const NAME: &'static str = "act";
    type Output = u32;
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

impl AsyncBody for Act {
    const NEEDS: &'static [StateNeed] = &[StateNeed::of::<Arc<Probe>>()];

    async fn run(self, context: TaskContext) -> Result<u32, TaskError> {
        let probe: State<Arc<Probe>> = context.state()?;
        probe.started.fetch_add(1, Ordering::SeqCst);
        match self {
            Self::Fail => return Err(TaskError::new("it failed")),
            Self::FailForGood => return Err(TaskError::permanent(std::io::Error::other("never"))),
            Self::Snooze { ms, when_told } if context.snoozes() == 0 => {
                if when_told {
                    context.cancellation().cancelled().await;
                }
                return Err(context.snooze(Duration::from_millis(ms)));
            }
            Self::Succeed | Self::Snooze { .. } => {}
            Self::PanicWithText => panic!("a text"),
            Self::PanicWithBomb => std::panic::panic_any(Bomb),
            Self::PanicInDrop => {
                let _bomb = Bomb;
                tokio::task::yield_now().await;
            }
            Self::Wait => probe.gate.acquire().await.unwrap().forget(),
            Self::WaitPolitely => tokio::select! {
                permit = probe.gate.acquire() => permit.unwrap().forget(),
                () = context.cancellation().cancelled() => {
                    probe.cancelled.fetch_add(1, Ordering::SeqCst);
                    return Err(TaskError::new("told to stop"));
                }
            },
            Self::Dawdle => tokio::time::sleep(ms(20)).await,
            Self::Block => probe.wait_for_the_door(),
        }
        probe.finished.fetch_add(1, Ordering::SeqCst);
        Ok(7)
    }
}

/// A cpu body that occupies its thread until the door opens.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compute;

impl Task for Compute {
    const NAME: &'static str = "compute";
    type Output = ();

    fn options() -> TaskOptions {
        TaskOptions::new().queue("compute")
    }
}

impl SyncBody for Compute {
    const NEEDS: &'static [StateNeed] = &[StateNeed::of::<Arc<Probe>>()];
    const LANE: Lane = Lane::Cpu;

    fn run(self, context: TaskContext) -> Result<(), TaskError> {
        let probe: State<Arc<Probe>> = context.state()?;
        probe.started.fetch_add(1, Ordering::SeqCst);
        probe.wait_for_the_door();
        probe.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

pub(crate) fn registry() -> Registry {
    Registry::new()
        .with(TaskDef::asynchronous::<Act>())
        .with(TaskDef::synchronous::<Compute>())
        .build()
        .unwrap()
}

/// A message as a client would send it.
pub(crate) fn envelope<T: Task>(to: &str, message: &T) -> Envelope {
    let args = lovage_core::encode_args(message).unwrap();
    let name = TaskName::parse(T::NAME).unwrap();
    let mut envelope = Envelope::new(TaskId::random(), name, queue(to), args);
    envelope.result_ttl = Some(mins(10));
    envelope
}

pub(crate) async fn send<B: Broker>(broker: &B, envelope: &Envelope) -> TaskId {
    let tasks = vec![envelope.encode().unwrap()];
    broker.enqueue(&envelope.queue, tasks).await.unwrap();
    envelope.id
}

/// A memory broker on a clock of its own, a probe, and what a worker needs.
pub(crate) struct Stand {
    pub(crate) memory: MemoryBroker,
    pub(crate) broker: Faulty,
    pub(crate) probe: Arc<Probe>,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let memory = MemoryBroker::with_clock(Clock::Manual(ManualClock::default()));
        Self {
            broker: Faulty::new(memory.clone()),
            memory,
            probe: Arc::default(),
        }
    }

    /// A worker on `default`, whose lease outlasts what tests move the clock by.
    pub(crate) fn worker(&self) -> WorkerBuilder<Faulty, Identity> {
        self.with(|_| ())
    }

    /// The same with some settings changed.
    pub(crate) fn with(
        &self,
        change: impl FnOnce(&mut Settings),
    ) -> WorkerBuilder<Faulty, Identity> {
        let mut settings = Settings {
            queues: Some(queue("default").into()),
            lease: mins(60),
            concurrency: 4,
            cpu_threads: 1,
            ..Settings::default()
        };
        change(&mut settings);
        Worker::builder(self.broker.clone(), registry())
            .states(States::new().with(Arc::clone(&self.probe)))
            .settings(settings)
    }

    pub(crate) async fn send(&self, act: Act) -> TaskId {
        send(&self.memory, &envelope("default", &act)).await
    }

    pub(crate) async fn counts(&self) -> lovage_core::Counts {
        self.memory.counts(&queue("default")).await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<lovage_core::DeadLetter> {
        let queue = queue("default");
        self.memory.dead_letters(&queue, 0, 10).await.unwrap()
    }

    /// Waits until the first dead letter is there, while the broker's clock goes on.
    pub(crate) async fn first_dead(&self, step: Duration) -> lovage_core::DeadLetter {
        let start = Instant::now();
        loop {
            if let Some(letter) = self.dead().await.pop() {
                return letter;
            }
            assert!(
                start.elapsed() < secs(20),
                "no dead letter; counts {:?}",
                self.counts().await
            );
            self.memory.advance(step);
            tokio::time::sleep(ms(2)).await;
        }
    }

    /// Waits until nothing is left in the queue but dead letters.
    pub(crate) async fn until_empty(&self) {
        let start = Instant::now();
        loop {
            let counts = self.counts().await;
            if counts.ready + counts.scheduled + counts.active == 0 {
                return;
            }
            assert!(start.elapsed() < secs(20), "still there: {counts:?}");
            tokio::time::sleep(ms(2)).await;
        }
    }
}

/// Waits for a condition, by the host's clock for at most 20 s, in paused time as well.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < secs(20), "waited in vain for: {what}");
        tokio::time::sleep(ms(2)).await;
    }
}
