//! Looking at workers and losses.

use lovage_core::{BrokerError, KnownWorker, Looked, Loss, QueueName, Reports};

use crate::broker::MemoryBroker;

impl Reports for MemoryBroker {
    async fn losses(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Loss>, BrokerError> {
        Ok(self.with(queue, |data, _| {
            let losses = data.losses.iter().skip(offset).take(limit);
            losses.cloned().collect()
        }))
    }

    async fn workers(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Looked<Vec<KnownWorker>>, BrokerError> {
        Ok(self.with(queue, |data, now| Looked {
            now,
            found: data.workers(offset, limit),
        }))
    }
}
