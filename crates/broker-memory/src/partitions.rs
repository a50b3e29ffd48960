//! The trait [`Partitioning`].

use lovage_core::{BrokerError, Partitioned, Partitioning, Partitions, QueueName};

use crate::broker::MemoryBroker;

impl Partitioning for MemoryBroker {
    async fn partition(
        &self,
        queue: &QueueName,
        partitions: Partitions,
    ) -> Result<Partitioned, BrokerError> {
        Ok(self.with(queue, |data, now| data.partition(partitions, now)))
    }

    async fn partitions(&self, queue: &QueueName) -> Result<Partitions, BrokerError> {
        Ok(self.with(queue, |data, _| data.partitions))
    }
}
