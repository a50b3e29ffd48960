//! Dividing a queue.

use std::time::Duration;

use lovage_core::{
    BrokerError, NameError, Partitioned, Partitioning, Partitions, PartitionsError, QueueName,
};

use crate::client::Client;

impl Client {
    /// Divides `queue` into 1 to 64 partitions, once and for all, so that more than one core or node of Redis works on
    /// it. It must hold nothing, dead letters included, and remember no sends, by idempotency keys or throttles, unless it
    /// has as many already.
    ///
    /// The queue stays one queue to everybody: nobody else needs to be told. Tasks keep their order, and their
    /// priorities, within a partition only.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = lovage::Client::connect("memory://").await?;
    /// client.partition("mail", 8).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PartitionError`]. Calling it again is safe after each, and at every start of a program.
    ///
    /// # Redis
    /// One script in the slot of the queue's first partition. A queue of more partitions has a hash tag for each.
    pub async fn partition(&self, queue: &str, partitions: u64) -> Result<(), PartitionError> {
        let queue = QueueName::parse(queue)?;
        let wanted = Partitions::new(partitions)?;
        let answer = self.within(|| self.broker().partition(&queue, wanted));
        match answer.await? {
            Partitioned::Done => Ok(()),
            Partitioned::HoldsTasks { len } => Err(PartitionError::HoldsTasks { queue, len }),
            Partitioned::RemembersSends { left } => {
                Err(PartitionError::RemembersSends { queue, left })
            }
            Partitioned::Fixed { present } => Err(PartitionError::Fixed {
                queue,
                present: present.get(),
                wanted: wanted.get(),
            }),
        }
    }
}

/// Why a queue was not divided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The queue's name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No queue has so many partitions.
    #[error(transparent)]
    Count(#[from] PartitionsError),
    /// It holds tasks, which would be where nobody looks for them.
    #[error(
        "queue {queue} holds {len} tasks, dead letters included, and is divided only while it holds none; let workers \
         finish them and revive or cancel the dead letters, or send to a queue of another name"
    )]
    HoldsTasks {
        /// The queue.
        queue: QueueName,
        /// How many tasks it holds.
        len: u64,
    },
    /// It remembers sends that would be sent once more to another partition.
    #[error(
        "queue {queue} remembers sends, by idempotency keys or throttles, for another {left:?}, and would take the same \
         ones again if it were divided; divide it then, or send to a queue of another name"
    )]
    RemembersSends {
        /// The queue.
        queue: QueueName,
        /// For how long, unless others are sent meanwhile.
        left: Duration,
    },
    /// It is divided already, in another way.
    #[error(
        "queue {queue} has {present} partitions and cannot have {wanted}; send to a queue of another name"
    )]
    Fixed {
        /// The queue.
        queue: QueueName,
        /// How many partitions it has.
        present: u8,
        /// How many it was to have.
        wanted: u8,
    },
    /// The broker did not do it, or did not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}
