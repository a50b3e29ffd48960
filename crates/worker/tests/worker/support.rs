//! Tasks, probes and a broker that loses answers, for the worker's tests.

mod callbacks;

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    AsyncBody, Broker, BrokerError, CancellationToken, Claim, Clock, Encoded, EnqueueError,
    Enqueued, Envelope, Fence, Inspect, Lane, ManualClock, Membership, QueueName, Recovered,
    Registry, Renewal, Retention, Settled, Settlement, State, StateNeed, States, SyncBody, Task,
    TaskContext, TaskDef, TaskError, TaskId, TaskName, TaskOptions, TransportError, WorkerId, mins,
    ms, secs,
};
use lovage_worker::{Worker, WorkerBuilder};
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
        Worker::builder(self.broker.clone(), registry())
            .states(States::new().with(Arc::clone(&self.probe)))
            .queues(queue("default"))
            .lease(mins(60))
            .concurrency(4)
            .cpu_threads(1)
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

/// A memory broker that can lose answers, be away, or never answer.
#[derive(Clone)]
pub(crate) struct Faulty {
    inner: MemoryBroker,
    pub(crate) faults: Arc<Faults>,
}

pub(crate) type Corruption = fn(&mut Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Claims are made, and their answers lost.
    pub(crate) lose_claims: AtomicBool,
    /// Claims are made, and not answered for as long.
    pub(crate) late_claims: AtomicBool,
    /// Settlements are made, and their answers lost.
    pub(crate) lose_settles: AtomicBool,
    /// Settlements are refused.
    pub(crate) refuse_settles: AtomicBool,
    pub(crate) refused_settles: AtomicUsize,
    /// Nothing happens, nothing is answered but errors.
    pub(crate) away: AtomicBool,
    /// Claims panic, in the main loop.
    pub(crate) claims_panic: AtomicBool,
    /// Renewals panic, on the thread of the lease.
    pub(crate) renewals_panic: AtomicBool,
    /// Nothing is answered at all.
    pub(crate) hangs: AtomicBool,
    /// Renewals are refused for good.
    pub(crate) evicted: AtomicBool,
    pub(crate) claims: AtomicUsize,
    pub(crate) claimed_max: AtomicUsize,
    pub(crate) waits: AtomicUsize,
    /// Waits fail at once.
    pub(crate) bells_fail: AtomicBool,
    pub(crate) order: Mutex<Vec<String>>,
    /// Of several tasks only the first is stored, as where one partition of a queue takes tasks and others do not.
    pub(crate) one_partition_only: AtomicBool,
    /// Callbacks are noted only when a worker leaves the queue.
    pub(crate) late_notes: AtomicBool,
    pub(crate) notes: AtomicUsize,
    /// A task that is sent by itself is stored when a worker leaves the queue, and the next ones never.
    pub(crate) late_sends: AtomicBool,
    pub(crate) single_sends: AtomicUsize,
    left: CancellationToken,
    /// What happens to the bytes of every delivery.
    pub(crate) corruption: Mutex<Option<Corruption>>,
}

impl Faulty {
    pub(crate) fn new(inner: MemoryBroker) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    pub(crate) fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, on: bool) {
        fault(&self.faults).store(on, Ordering::SeqCst);
    }

    /// Changes the bytes of every delivery from now on.
    pub(crate) fn corrupt(&self, change: Corruption) {
        *self.faults.corruption.lock().unwrap() = Some(change);
    }

    async fn reach(&self) -> Result<(), BrokerError> {
        if self.faults.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.faults.away.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(())
    }
}

fn lost() -> BrokerError {
    BrokerError::Unknown(TransportError::new("the answer was lost"))
}

impl Broker for Faulty {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        self.delay_single_sends(&tasks).await;
        if self.faults.one_partition_only.load(Ordering::SeqCst) {
            return callbacks::enqueue_first(&self.inner, queue, &tasks).await;
        }
        self.inner.enqueue(queue, tasks).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        self.reach().await?;
        assert!(!self.faults.claims_panic.load(Ordering::SeqCst));
        self.faults.claims.fetch_add(1, Ordering::SeqCst);
        self.faults.order.lock().unwrap().push(queue.to_string());
        let mut claim = self.inner.claim(worker, queue, max).await?;
        if let Claim::Granted(batch) = &mut claim {
            if let Some(corrupt) = *self.faults.corruption.lock().unwrap() {
                for delivery in &mut batch.deliveries {
                    let mut bytes = delivery.bytes.to_vec();
                    corrupt(&mut bytes);
                    delivery.bytes = bytes.into();
                }
            }
            let max = &self.faults.claimed_max;
            max.fetch_max(batch.held, Ordering::SeqCst);
        }
        while self.faults.late_claims.load(Ordering::SeqCst) {
            tokio::time::sleep(ms(1)).await;
        }
        if self.faults.lose_claims.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(claim)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        self.reach().await?;
        if self.faults.refuse_settles.load(Ordering::SeqCst) {
            self.faults.refused_settles.fetch_add(1, Ordering::SeqCst);
            return Err(BrokerError::Refused(TransportError::new("full")));
        }
        let settled = self.inner.settle(worker, queue, settlements).await?;
        if self.faults.lose_settles.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(settled)
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        self.reach().await?;
        self.faults.waits.fetch_add(1, Ordering::SeqCst);
        if self.faults.bells_fail.load(Ordering::SeqCst) {
            return Err(BrokerError::Refused(TransportError::new("no bell")));
        }
        self.inner.wait(queue, at_most).await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        self.reach().await?;
        assert!(!self.faults.renewals_panic.load(Ordering::SeqCst));
        if self.faults.evicted.swap(false, Ordering::SeqCst) {
            return Ok(Renewal::Lost);
        }
        self.inner.renew(worker, queue, lease).await
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        self.reach().await?;
        self.inner.recover(queue, patience).await
    }
}

impl Membership for Faulty {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        self.reach().await?;
        self.inner.register(worker, queue, lease).await
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        self.reach().await?;
        self.inner.holdings(worker, queue).await
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        self.reach().await?;
        self.faults.left.cancel();
        self.inner.retire(worker, queue).await
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        Ok(self.clone())
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: bytes::Bytes,
    ) -> Result<bool, BrokerError> {
        self.reach().await?;
        self.inner.report(worker, queue, report).await
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        self.reach().await?;
        self.inner.retain(queue, retention).await
    }
}
