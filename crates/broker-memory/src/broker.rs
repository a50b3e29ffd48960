//! The handle: locks, applies a transition, waits.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{
    Awaited, BATCH_MAX, Broker, BrokerError, Cancelled, Claim, Clock, Control, Counts, DeadLetter,
    Encoded, EnqueueError, Enqueued, Fence, Inspect, Membership, Millis, Outcome, Place, QueueName,
    Recovered, Renewal, Results, Settled, Settlement, TaskId, TransportError, WorkerId,
};
use tokio::time::timeout;

use crate::queue::{Queue, Spot};

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
    }

    /// Applies `transition` to one queue at one instant.
    fn with<T>(&self, queue: &QueueName, transition: impl FnOnce(&mut Queue, Millis) -> T) -> T {
        let mut queues = self.lock();
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Queue::default());
        }
        let queue = queues.get_mut(queue).expect("it was just made");
        // The clock is read under the lock, so that instants never run backwards from one transition to the next.
        transition(queue, self.clock.now())
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
        check_batch(settlements.len())?;
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

    async fn revive(&self, queue: &QueueName, id: TaskId) -> Result<bool, BrokerError> {
        Ok(self.with(queue, |data, _| data.revive(id)))
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

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        Ok(self.with(queue, |data, _| data.dead_letters(offset, limit)))
    }
}

fn check_batch(count: usize) -> Result<(), BrokerError> {
    if count <= BATCH_MAX {
        return Ok(());
    }
    let reason = format!("{count} verdicts in one call, the limit is {BATCH_MAX}");
    Err(BrokerError::Refused(TransportError::new(reason)))
}
