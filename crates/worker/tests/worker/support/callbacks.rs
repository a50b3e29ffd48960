//! Callbacks over the broker that loses answers.

use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Broker, BrokerError, Callbacks, Confirmation, Encoded, EnqueueError, Enqueued, Millis, Owed,
    QueueName, TaskId, TransportError,
};

use super::Faulty;

impl Callbacks for Faulty {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        self.reach().await?;
        self.inner.owed(queue, max, patience).await
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        self.reach().await?;
        if self.faults.late_notes.load(Ordering::SeqCst) {
            self.faults.left.cancelled().await;
        }
        self.faults.notes.fetch_add(1, Ordering::SeqCst);
        if self.faults.lost_notes.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.called_back(queue, deaths).await
    }
}

impl Faulty {
    pub(super) async fn delay_single_sends(&self, tasks: &[Encoded]) {
        if tasks.len() != 1 || !self.faults.late_sends.load(Ordering::SeqCst) {
            return;
        }
        if 0 < self.faults.single_sends.fetch_add(1, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.faults.left.cancelled().await;
    }
}

/// Stores the first task alone, as where one partition of a queue takes tasks and others do not.
pub(super) async fn enqueue_first(
    broker: &MemoryBroker,
    queue: &QueueName,
    tasks: &[Encoded],
) -> Result<Vec<Enqueued>, EnqueueError> {
    let mut answers = vec![None; tasks.len()];
    answers[0] = Some(broker.enqueue(queue, tasks[..1].to_vec()).await?[0]);
    let error = TransportError::new("this partition is away");
    Err(EnqueueError::InPart {
        answers,
        by: Confirmation::default(),
        error: Box::new(EnqueueError::Refused(error)),
    })
}
