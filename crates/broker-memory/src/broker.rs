//! The handle: locks, applies a transition, waits.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, Awaited, BATCH_MAX, BeatId, BeatRole, Broker, BrokerError, Callbacks,
    Cancelled, Claim, Clock, Control, Counts, DeadLetter, Encoded, EnqueueError, Enqueued, Fence,
    Forwarded, Inspect, Lead, Leader, Looked, Membership, Millis, Outcome, Outgoing, Owed, Place,
    QueueName, REPORT_BYTES_MAX, Recovered, Renewal, Rescheduled, Results, Retention, Revived,
    ScheduleName, Scheduled, Schedules, Settled, Settlement, StoredSchedule, TaskId,
    TransportError, When, WorkerId,
};
use tokio::time::timeout;

use crate::beat::Beat;
use crate::queue::{Queue, Spot};
use crate::transitions::enqueue::Incoming;

/// A broker in the memory of this process. Clones share one set of queues.
///
/// ```
/// use lovage_broker_memory::MemoryBroker;
/// use lovage_core::{Inspect, QueueName};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let counts = broker.counts(&QueueName::parse("mail")?).await?;
/// assert_eq!(counts.ready, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryBroker {
    clock: Clock,
    queues: Arc<Mutex<HashMap<QueueName, Queue>>>,
    beat: Arc<Mutex<Beat>>,
}

impl MemoryBroker {
    /// A broker without tasks, on the host's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// A broker without tasks, on `clock`.
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Moves a manual clock forward and wakes waiters, since tasks may have become due.
    ///
    /// Moving the clock behind the broker's back works as well, but wakes nobody. The host's clock is not moved.
    pub fn advance(&self, span: Duration) {
        if let Clock::Manual(clock) = &self.clock {
            clock.advance(span);
        }
        for queue in self.lock().values() {
            queue.bell.notify_one();
        }
        for role in [BeatRole::Leader, BeatRole::Standby] {
            self.with_beat(|beat, _| beat.bell(role).notify_one());
        }
    }

    /// Applies `transition` to one queue at one instant.
    pub(crate) fn with<T>(
        &self,
        queue: &QueueName,
        transition: impl FnOnce(&mut Queue, Millis) -> T,
    ) -> T {
        let mut queues = self.lock();
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Queue::default());
        }
        let queue = queues.get_mut(queue).expect("it was just made");
        // The clock is read under the lock, so that instants never run backwards from one transition to the next.
        transition(queue, self.clock.now())
    }

    /// The queues that were ever asked for.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        self.lock().keys().cloned().collect()
    }

    /// Applies `transition` to the schedules at one instant.
    fn with_beat<T>(&self, transition: impl FnOnce(&mut Beat, Millis) -> T) -> T {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        transition(&mut beat, self.clock.now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<QueueName, Queue>> {
        // A transition that panics is a bug of this crate; the tasks it did not touch are still good.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker for MemoryBroker {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        let tasks: Vec<Incoming> = tasks
            .iter()
            .map(|task| Incoming {
                id: task.id(),
                bytes: task.bytes().clone(),
                unique: task.unique().copied(),
                remembered: task.remembered(),
            })
            .collect();
        self.with(queue, |data, now| data.enqueue(queue, &tasks, now))
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        Ok(self.with(queue, |data, now| data.claim(worker, max, now)))
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        check_batch("verdicts", settlements.len())?;
        Ok(self.with(queue, |data, now| data.settle(worker, settlements, now)))
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        let bell = self.with(queue, |data, _| Arc::clone(&data.bell));
        // Either is fine: a ring, or the time for which the caller knew nothing to be due.
        let _ = timeout(at_most, bell.notified()).await;
        Ok(())
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        Ok(self.with(queue, |data, now| data.renew(worker, lease, now)))
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        Ok(self.with(queue, |data, now| data.recover(patience, now)))
    }
}

impl Membership for MemoryBroker {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        if self.with(queue, |data, now| data.register(worker, lease, now)) {
            return Ok(());
        }
        let reason = format!("worker {worker} was recovered: take a new identity");
        Err(BrokerError::Refused(TransportError::new(reason)))
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        Ok(self.with(queue, |data, _| data.holdings(worker)))
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        Ok(self.with(queue, |data, _| data.retire(worker)))
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        Ok(self.clone())
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: Bytes,
    ) -> Result<bool, BrokerError> {
        if REPORT_BYTES_MAX < report.len() {
            let size = report.len();
            let reason = format!("a report of {size} bytes, the limit is {REPORT_BYTES_MAX}");
            return Err(BrokerError::Refused(TransportError::new(reason)));
        }
        Ok(self.with(queue, |data, now| data.report(worker, &report, now)))
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        self.with(queue, |data, _| data.retention = retention);
        Ok(())
    }
}

impl Callbacks for MemoryBroker {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        let max = usize::from(max.get()).min(BATCH_MAX);
        Ok(self.with(queue, |data, now| data.owed(max, patience, now)))
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        self.with(queue, |data, _| data.called_back(&deaths));
        Ok(())
    }
}

impl Results for MemoryBroker {
    async fn outcome(
        &self,
        queue: &QueueName,
        id: TaskId,
        at_most: Duration,
    ) -> Result<Awaited, BrokerError> {
        let receiver = self.with(queue, |data, now| {
            // A task that lives again under an old id is waited for; its earlier outcome is not its own.
            match data.tasks.get(&id).map(|task| &task.spot) {
                Some(Spot::Dead(_, failure)) => {
                    Err(Awaited::Outcome(Outcome::Failed(failure.clone()).encode()))
                }
                Some(_) => Ok(data.await_outcome(id)),
                None => Err(data
                    .kept_outcome(id, now)
                    .map_or(Awaited::Unknown, Awaited::Outcome)),
            }
        });
        Ok(match receiver {
            Err(known) => known,
            Ok(receiver) => match timeout(at_most, receiver).await {
                Ok(outcome) => Awaited::Outcome(outcome.expect("a live task keeps its senders")),
                Err(_) => Awaited::TimedOut,
            },
        })
    }
}

impl Control for MemoryBroker {
    async fn cancel(&self, queue: &QueueName, id: TaskId) -> Result<Cancelled, BrokerError> {
        Ok(self.with(queue, |data, now| data.cancel(id, now)))
    }

    async fn revive(&self, queue: &QueueName, id: TaskId) -> Result<Revived, BrokerError> {
        Ok(self.with(queue, |data, now| data.revive(id, now)))
    }

    async fn reschedule(
        &self,
        queue: &QueueName,
        id: TaskId,
        when: When,
    ) -> Result<Rescheduled, BrokerError> {
        Ok(self.with(queue, |data, now| data.reschedule(id, when, now)))
    }

    async fn bound(&self, queue: &QueueName, tasks_max: Option<u64>) -> Result<(), BrokerError> {
        self.with(queue, |data, _| data.bound = tasks_max);
        Ok(())
    }
}

impl Inspect for MemoryBroker {
    async fn state(&self, queue: &QueueName, id: TaskId) -> Result<Place, BrokerError> {
        Ok(self.with(queue, |data, _| data.place_of(id)))
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, BrokerError> {
        Ok(self.with(queue, |data, _| data.counts()))
    }

    async fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, BrokerError> {
        Ok(self.with(queue, |data, _| data.scheduled(offset, limit)))
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        Ok(self.with(queue, |data, _| data.dead_letters(offset, limit)))
    }
}

impl Schedules for MemoryBroker {
    async fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> Result<Lead, BrokerError> {
        Ok(self.with_beat(|data, now| data.lead(beat, lease, max, now)))
    }

    async fn resign(&self, beat: BeatId) -> Result<(), BrokerError> {
        self.with_beat(|data, _| data.resign(beat));
        Ok(())
    }

    async fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Amended>, BrokerError> {
        check_batch("amendments", amendments.len())?;
        let sends = amendments.iter().map(|amendment| amendment.sends.len());
        check_batch("tasks", sends.sum())?;
        Ok(self.with_beat(|data, now| {
            let amendments = amendments.into_iter();
            amendments
                .map(|amendment| data.amend(epoch, amendment, now))
                .collect()
        }))
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
        Ok(self.with_beat(|data, now| {
            let found = data.schedule(name);
            Looked { now, found }
        }))
    }

    async fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
        Ok(self.with_beat(|data, now| {
            let found = data.schedules(after, limit.min(BATCH_MAX));
            Looked { now, found }
        }))
    }

    async fn firings(&self, name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError> {
        Ok(self.with_beat(|data, _| data.firings(name, limit)))
    }

    async fn leader(&self) -> Result<Option<Leader>, BrokerError> {
        Ok(self.with_beat(|data, now| data.leader(now)))
    }

    async fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Vec<Outgoing>, BrokerError> {
        let max = usize::from(max.get()).min(BATCH_MAX);
        Ok(self.with_beat(|data, _| data.outbox(queue, max)))
    }

    async fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> Result<Forwarded, EnqueueError> {
        self.with(queue, |data, now| data.forward(queue, outgoing, now))
    }

    async fn forwarded(&self, queue: &QueueName, up_to: u64) -> Result<bool, BrokerError> {
        Ok(self.with_beat(|data, _| data.drop_forwarded(queue, up_to)))
    }

    async fn await_turn(&self, role: BeatRole, at_most: Duration) -> Result<(), BrokerError> {
        let bell = self.with_beat(|data, _| Arc::clone(data.bell(role)));
        // As in `wait`: a ring or the time, either is fine.
        let _ = timeout(at_most, bell.notified()).await;
        Ok(())
    }
}

/// Refuses more than one call may carry.
pub(crate) fn check_batch(what: &str, count: usize) -> Result<(), BrokerError> {
    if count <= BATCH_MAX {
        return Ok(());
    }
    let reason = format!("{count} {what} in one call, the limit is {BATCH_MAX}");
    Err(BrokerError::Refused(TransportError::new(reason)))
}
