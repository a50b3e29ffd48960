//! Looking at workers and losses, wired to its transitions.

use lovage_core::{BrokerError, KnownWorker, Looked, Loss, QueueName, Reports};

use crate::broker::RedisBroker;
use crate::partitioned;
use crate::transitions;

impl Reports for RedisBroker {
    async fn losses(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Loss>, BrokerError> {
        partitioned::losses(&self.shared, queue, offset, limit).await
    }

    async fn workers(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Looked<Vec<KnownWorker>>, BrokerError> {
        // A worker is known to all partitions, or lost: the first has the queue's own name, and tells of all.
        transitions::workers(&self.shared, queue, offset, limit).await
    }
}
