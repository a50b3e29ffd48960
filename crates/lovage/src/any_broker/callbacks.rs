//! Callbacks of either broker.

use std::num::NonZeroU16;
use std::time::Duration;

use lovage_core::{BrokerError, Callbacks, Millis, Owed, QueueName, TaskId};

use super::AnyBroker;

impl Callbacks for AnyBroker {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        each!(self, broker => broker.owed(queue, max, patience).await)
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        each!(self, broker => broker.called_back(queue, deaths).await)
    }
}
