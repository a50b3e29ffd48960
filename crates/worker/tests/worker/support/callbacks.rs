//! Callbacks over the broker that loses answers.

use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lovage_core::{BrokerError, Callbacks, Millis, Owed, QueueName, TaskId};

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
        self.inner.called_back(queue, deaths).await
    }
}
