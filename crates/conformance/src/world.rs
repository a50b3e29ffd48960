//! A broker, its clock and a queue, with the verbs that laws are written in. Each panics where it is refused.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Awaited, Batch, Broker, Claim, Clock, Conflict, Control, Delivery, Encoded, Enqueued, Envelope,
    Inspect, Lock, LockKey, ManualClock, Membership, Millis, Outcome, Place, QueueName, Recovered,
    Results, Settled, Settlement, TaskId, TaskName, Until, Verdict, WorkerId, ms, secs, span_ms,
};

use crate::harness::Harness;

mod beats;

pub(crate) use beats::{BEAT_LEASE, held, ids_out, names_of, removing, schedule_name, storing};

/// The lease of every worker in a law, unless it says another.
pub const LEASE: Duration = secs(15);
/// The last four bytes of the ids that laws name: by them a task has its partition.
pub const TAIL: u32 = 3;
/// The span between the two looks of recovery.
pub const PATIENCE: Duration = secs(5);
/// Longer than a law lives: a wait that ends was woken.
pub(crate) const LONG: Duration = lovage_core::hours(1);
/// How long a law waits for what must come at once. Generous: machines that run tests are busy.
const LIMIT: Duration = secs(30);

/// A broker in the state that a law has brought it to.
pub struct World<H: Harness> {
    /// The handle that the verbs below use.
    pub broker: H::Broker,
    /// The clock that the broker goes by, unless the law asked for the host's.
    pub clock: ManualClock,
    /// The queue that the verbs below speak of.
    pub queue: QueueName,
    harness: H,
}

impl<H: Harness> World<H> {
    /// An empty broker on a clock that stands still.
    pub async fn start(mut harness: H) -> Self {
        let clock = ManualClock::default();
        let broker = harness.start(Clock::Manual(clock.clone())).await;
        Self {
            broker,
            clock,
            queue: queue("mail"),
            harness,
        }
    }

    /// An empty broker on its own clock: time passes by itself.
    pub async fn start_on_the_real_clock(mut harness: H) -> Self {
        Self {
            broker: harness.start(Clock::System).await,
            clock: ManualClock::default(),
            queue: queue("mail"),
            harness,
        }
    }

    /// The present instant.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Sets the clock back, as somebody does, a time server or a failover.
    pub fn set_back(&self, span: Duration) {
        self.clock
            .set(Millis::new(self.now().get() - span_ms(span)));
    }

    /// A fresh worker with a lease.
    pub async fn worker(&self) -> WorkerId {
        let worker = WorkerId::random();
        self.broker
            .register(worker, &self.queue, LEASE)
            .await
            .expect("registering is answered");
        worker
    }

    /// A task with no option set.
    pub fn envelope(&self) -> Envelope {
        self.envelope_of(self.harness.id())
    }

    /// A task with this id.
    pub fn envelope_of(&self, id: TaskId) -> Envelope {
        let name = TaskName::parse("law").expect("it is a name");
        Envelope::new(id, name, self.queue.clone(), payload(b"\xc0"))
    }

    /// A task of this priority.
    pub fn prioritised(&self, level: u8) -> Envelope {
        Envelope {
            priority: lovage_core::Priority::new(level),
            ..self.envelope()
        }
    }

    /// Bounds the queue, so that as many tasks as the law says fit into the partition that they are in.
    pub async fn bound(&self, tasks_max: Option<u64>) {
        let partitions = u64::from(self.harness.partitions().get());
        let bound = tasks_max.map(|max| max * partitions);
        let bounded = self.broker.bound(&self.queue, bound).await;
        bounded.expect("a bound is set");
    }

    /// Sends `count` tasks in one call.
    pub async fn send(&self, count: usize) -> Vec<TaskId> {
        self.send_all((0..count).map(|_| self.envelope()).collect())
            .await
    }

    /// Sends one task.
    pub async fn send_one(&self, envelope: Envelope) -> TaskId {
        self.send_all(vec![envelope]).await[0]
    }

    /// Sends tasks in one call; all must be new.
    pub async fn send_all(&self, envelopes: Vec<Envelope>) -> Vec<TaskId> {
        let ids: Vec<TaskId> = envelopes.iter().map(|envelope| envelope.id).collect();
        let answers = self.enqueue(envelopes).await;
        assert_eq!(answers, vec![Enqueued::New; ids.len()]);
        ids
    }

    /// Sends tasks in one call.
    pub async fn enqueue(&self, envelopes: Vec<Envelope>) -> Vec<Enqueued> {
        self.broker
            .enqueue(&self.queue, encode(&envelopes))
            .await
            .expect("the tasks are accepted")
    }

    /// A claim that must be granted.
    pub async fn batch(&self, worker: WorkerId, max: u16) -> Batch {
        match self.try_claim(worker, max).await {
            Claim::Granted(batch) => batch,
            Claim::NoLease => panic!("worker {worker} has no lease"),
        }
    }

    /// A claim.
    pub async fn try_claim(&self, worker: WorkerId, max: u16) -> Claim {
        let max = NonZeroU16::new(max).expect("a claim asks for something");
        self.broker
            .claim(worker, &self.queue, max)
            .await
            .expect("a claim is answered")
    }

    /// What a claim brings.
    pub async fn claim(&self, worker: WorkerId, max: u16) -> Vec<Delivery> {
        self.batch(worker, max).await.deliveries
    }

    /// The one task that a claim brings.
    pub async fn claim_one(&self, worker: WorkerId) -> Delivery {
        let mut deliveries = self.claim(worker, 1).await;
        assert_eq!(deliveries.len(), 1, "nothing was ready");
        deliveries.remove(0)
    }

    /// The ids that a claim brings.
    pub async fn claim_ids(&self, worker: WorkerId, max: u16) -> Vec<TaskId> {
        ids_of(&self.claim(worker, max).await)
    }

    /// Gives one verdict on some deliveries.
    pub async fn settle(
        &self,
        worker: WorkerId,
        deliveries: &[Delivery],
        verdict: Verdict,
    ) -> Settled {
        let settlements = deliveries
            .iter()
            .map(|delivery| Settlement {
                id: delivery.id,
                fence: delivery.fence,
                verdict: verdict.clone(),
            })
            .collect();
        self.settle_each(worker, settlements).await
    }

    /// Gives verdicts.
    pub async fn settle_each(&self, worker: WorkerId, settlements: Vec<Settlement>) -> Settled {
        self.broker
            .settle(worker, &self.queue, settlements)
            .await
            .expect("a settlement is answered")
    }

    /// How many tasks the queue says that `worker` holds.
    pub async fn holds(&self, worker: WorkerId) -> usize {
        let held = self.broker.holdings(worker, &self.queue).await;
        held.expect("looking is answered").len()
    }

    /// Gives one verdict on one delivery that must not be stale.
    pub async fn settle_one(&self, worker: WorkerId, delivery: &Delivery, verdict: Verdict) {
        let settled = self
            .settle(worker, std::slice::from_ref(delivery), verdict)
            .await;
        assert_eq!(settled.stale, [], "the delivery is stale");
    }

    /// One look of recovery.
    pub async fn recover(&self) -> Recovered {
        Recovered {
            // Laws of their own look at these.
            losses: Vec::new(),
            ..self.recover_with_losses().await
        }
    }

    /// One look of recovery, with the ledger of what was lost.
    pub async fn recover_with_losses(&self) -> Recovered {
        self.broker
            .recover(&self.queue, PATIENCE)
            .await
            .expect("recovery is answered")
    }

    /// Lets every lease end and takes back what the workers held.
    pub async fn lose_all_workers(&self) -> Recovered {
        self.advance(LEASE);
        let first = self.recover().await;
        assert_eq!((first.released, first.buried), (0, 0), "the first look");
        self.advance(PATIENCE);
        let mut total = Recovered::default();
        loop {
            let recovered = self.recover().await;
            total.released += recovered.released;
            total.buried += recovered.buried;
            if !recovered.more {
                return total;
            }
        }
    }

    /// Where a task is.
    pub async fn state(&self, id: TaskId) -> Place {
        let state = self.broker.state(&self.queue, id).await;
        state.expect("looking is answered")
    }

    /// What is known of a task's outcome now.
    pub async fn outcome(&self, id: TaskId) -> Option<Outcome> {
        match self.awaited(id, Duration::ZERO).await {
            Awaited::Outcome(bytes) => Some(Outcome::decode(&bytes).expect("it is an outcome")),
            Awaited::Unknown | Awaited::TimedOut => None,
        }
    }

    /// Waits for an outcome.
    pub async fn awaited(&self, id: TaskId, at_most: Duration) -> Awaited {
        let awaited = self.broker.outcome(&self.queue, id, at_most).await;
        awaited.expect("waiting is answered")
    }

    /// Waits elsewhere for an outcome; the wait has begun when this returns.
    pub async fn waiter(&self, id: TaskId) -> tokio::task::JoinHandle<Outcome> {
        let (broker, queue) = (self.broker.clone(), self.queue.clone());
        let handle = tokio::spawn(async move {
            match broker.outcome(&queue, id, LIMIT).await {
                Ok(Awaited::Outcome(bytes)) => Outcome::decode(&bytes).expect("it is an outcome"),
                other => panic!("no outcome of {id} came: {other:?}"),
            }
        });
        settle_down().await;
        handle
    }
}

/// `future`, which must end soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

/// Gives tasks spawned just now the time to begin their wait. Laws hold whether or not they have: this only makes
/// the interesting case the likely one.
pub(crate) async fn settle_down() {
    tokio::time::sleep(ms(20)).await;
}

/// A millisecond less than `span`.
pub(crate) fn almost(span: Duration) -> Duration {
    span.saturating_sub(ms(1))
}

/// The wire forms of `envelopes`.
pub(crate) fn encode(envelopes: &[Envelope]) -> Vec<Encoded> {
    envelopes
        .iter()
        .map(|envelope| envelope.encode().expect("a small envelope encodes"))
        .collect()
}

/// The ids of deliveries, in their order.
pub(crate) fn ids_of(deliveries: &[Delivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}

/// An id that sorts by `n`. All are in one partition: [`TAIL`] names it.
pub(crate) fn id(n: u8) -> TaskId {
    let mut bytes = [n; 16];
    bytes[12..].copy_from_slice(&TAIL.to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// A queue of this name.
pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::parse(name).expect("it is a name")
}

/// It ran and its value is kept for `keep`.
pub(crate) fn done(keep: Option<Duration>) -> Verdict {
    Verdict::Done {
        outcome: Outcome::Done(payload(b"\x2a")),
        keep,
    }
}

/// It failed for good.
pub(crate) fn bury(message: &str) -> Verdict {
    Verdict::Bury(lovage_core::Failure::new(
        lovage_core::FailureKind::Error,
        message,
    ))
}

/// The lock of the key `n`, held until the task has ended; what meets it is not stored.
pub(crate) fn lock(n: u8) -> Lock {
    Lock {
        key: LockKey::from_bytes([n; 16]),
        until: Until::Done,
        conflict: Conflict::Reject,
        ttl: None,
    }
}

/// Bytes that never change.
pub fn payload(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}
