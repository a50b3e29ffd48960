//! Confirmed sends, as far as a broker without replicas or disk can give them.

use lovage_core::{
    Broker as _, Confirmation, Confirmed, Durability, Durable, Encoded, EnqueueError, QueueName,
};

use crate::broker::MemoryBroker;

impl Durable for MemoryBroker {
    /// Confirms whatever is asked for: nothing that it holds is lost while the process lives, and nothing outlives it.
    /// So a program that wants confirmations can be tried out, and tested, without servers.
    async fn enqueue_confirmed(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        wanted: Durability,
    ) -> Result<Confirmed, EnqueueError> {
        Ok(Confirmed {
            answers: self.enqueue(queue, tasks).await?,
            by: Confirmation {
                replicas: wanted.replicas.into(),
                fsynced: wanted.fsync,
            },
        })
    }
}
