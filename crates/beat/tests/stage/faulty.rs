//! A broker that loses requests and answers, refuses, takes its time, or loses all its data, as the test says.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Amended, Amendment, BeatId, BeatRole, Broker, BrokerError, Claim, Counts, DeadLetter, Encoded,
    EnqueueError, Enqueued, Forwarded, Inspect, Lead, Leader, Looked, Outgoing, Place, QueueName,
    Recovered, Renewal, ScheduleName, Scheduled, Schedules, Settled, Settlement, StoredSchedule,
    TaskId, TransportError, WorkerId,
};

/// What stands between beats and a broker. Clones share it.
#[derive(Clone)]
pub(crate) struct Faulty(Arc<Mutex<Inner>>);

struct Inner {
    broker: MemoryBroker,
    chance: fastrand::Rng,
    faults: Faults,
    calls: u64,
}

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// Of a hundred calls, how many have no effect, and no answer either.
    pub(crate) lost_requests: u8,
    /// Of a hundred calls, how many have their effect, and no answer.
    pub(crate) lost_answers: u8,
    /// Of a hundred calls, how many are refused.
    pub(crate) refused: u8,
    /// How long a call takes.
    pub(crate) latency: Duration,
    /// Changes that send to this queue are refused until somebody acts.
    pub(crate) broken_queue: Option<QueueName>,
}

enum Fate {
    Works,
    Lost,
    Unanswered,
    Refused,
}

impl Faulty {
    pub(crate) fn new(broker: MemoryBroker, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            broker,
            chance: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            calls: 0,
        })))
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.0.lock().unwrap().faults = faults;
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// From now on there is another broker here: nothing of what the old one knew is left.
    pub(crate) fn replace(&self, broker: MemoryBroker) {
        self.0.lock().unwrap().broker = broker;
    }

    fn broker(&self) -> MemoryBroker {
        self.0.lock().unwrap().broker.clone()
    }

    fn fate(&self) -> (Fate, Duration) {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        let (faults, drawn) = (inner.faults.clone(), inner.chance.u8(0..100));
        let (lost, unanswered) = (faults.lost_requests, faults.lost_answers);
        let fate = if drawn < lost {
            Fate::Lost
        } else if drawn < lost + unanswered {
            Fate::Unanswered
        } else if drawn < lost + unanswered + faults.refused {
            Fate::Refused
        } else {
            Fate::Works
        };
        (fate, faults.latency)
    }

    async fn call<T, E: From<BrokerError>>(
        &self,
        verb: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (fate, latency) = self.fate();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let unknown = || BrokerError::Unknown(TransportError::new("the connection broke"));
        match fate {
            Fate::Works => verb.await,
            Fate::Lost => Err(unknown().into()),
            Fate::Unanswered => {
                verb.await?;
                Err(unknown().into())
            }
            Fate::Refused => {
                Err(BrokerError::Refused(TransportError::new("it is loading its data")).into())
            }
        }
    }

    fn breaks(&self, amendments: &[Amendment]) -> bool {
        let broken = self.0.lock().unwrap().faults.broken_queue.clone();
        let mut sends = amendments.iter().flat_map(|amendment| &amendment.sends);
        sends.any(|(queue, _)| Some(queue) == broken.as_ref())
    }
}

impl Schedules for Faulty {
    async fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> Result<Lead, BrokerError> {
        self.call(self.broker().lead(beat, lease, max)).await
    }

    async fn resign(&self, beat: BeatId) -> Result<(), BrokerError> {
        self.call(self.broker().resign(beat)).await
    }

    async fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Amended>, BrokerError> {
        if self.breaks(&amendments) {
            let error = TransportError::new("a key holds the wrong kind of value");
            return Err(BrokerError::Misconfigured(error));
        }
        self.call(self.broker().amend(epoch, amendments)).await
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
        self.call(self.broker().schedule(name)).await
    }

    async fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
        self.call(self.broker().schedules(after, limit)).await
    }

    async fn firings(&self, name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError> {
        self.call(self.broker().firings(name, limit)).await
    }

    async fn leader(&self) -> Result<Option<Leader>, BrokerError> {
        self.call(self.broker().leader()).await
    }

    async fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Vec<Outgoing>, BrokerError> {
        self.call(self.broker().outbox(queue, max)).await
    }

    async fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> Result<Forwarded, EnqueueError> {
        self.call(self.broker().forward(queue, outgoing)).await
    }

    async fn forwarded(&self, queue: &QueueName, up_to: u64) -> Result<bool, BrokerError> {
        self.call(self.broker().forwarded(queue, up_to)).await
    }

    async fn await_turn(&self, role: BeatRole, at_most: Duration) -> Result<(), BrokerError> {
        self.call(self.broker().await_turn(role, at_most)).await
    }
}

impl Inspect for Faulty {
    async fn state(&self, queue: &QueueName, id: TaskId) -> Result<Place, BrokerError> {
        self.call(self.broker().state(queue, id)).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, BrokerError> {
        self.call(self.broker().counts(queue)).await
    }

    async fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, BrokerError> {
        self.broker().scheduled(queue, offset, limit).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        self.broker().dead_letters(queue, offset, limit).await
    }
}

/// A beat makes none of these calls.
impl Broker for Faulty {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        self.broker().enqueue(queue, tasks).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        self.broker().claim(worker, queue, max).await
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        self.broker().settle(worker, queue, settlements).await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        self.broker().wait(queue, at_most).await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        self.broker().renew(worker, queue, lease).await
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        self.broker().recover(queue, patience).await
    }
}
