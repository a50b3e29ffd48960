//! Callbacks over the network of the simulation.

use std::num::NonZeroU16;
use std::time::Duration;

use lovage_core::{BrokerError, Callbacks, Inspect, Membership, Millis, Owed, QueueName, TaskId};

use super::Faulty;

impl<B: Membership + Inspect + Callbacks> Callbacks for Faulty<B> {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.owed(&queue, max, patience).await })
            .await
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.called_back(&queue, deaths).await })
            .await
    }
}
