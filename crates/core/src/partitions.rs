//! Queues that are divided: one hot queue spread over several places of a broker, so that more than one core or node
//! works on it.
//!
//! Which partition a task is in follows from its id alone, so nothing has to remember it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::broker::{Broker, BrokerError};
use crate::ids::{QueueName, TaskId};

/// The most partitions of a queue.
pub const PARTITIONS_MAX: u8 = 64;

/// How many partitions a queue has: 1 to [`PARTITIONS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partitions(u8);

/// Why a number of partitions was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a queue cannot have {0} partitions; use 1 to {PARTITIONS_MAX}")]
pub struct PartitionsError(u64);

impl Partitions {
    /// A queue that is not divided.
    pub const ONE: Self = Self(1);

    /// Reads a number of partitions.
    ///
    /// # Errors
    /// [`PartitionsError`] unless it is 1 to [`PARTITIONS_MAX`].
    pub fn new(count: u64) -> Result<Self, PartitionsError> {
        match u8::try_from(count) {
            Ok(count) if (1..=PARTITIONS_MAX).contains(&count) => Ok(Self(count)),
            _ => Err(PartitionsError(count)),
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The partition that a task is in: the last four bytes of its id, big-endian, modulo the number of partitions.
    pub fn of(self, id: TaskId) -> u8 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than a number of eight bits"
        )]
        let partition = (tail(id) % u32::from(self.0)) as u8;
        partition
    }

    /// An id that differs from `id` in its last four bytes at most, and is in `partition`.
    ///
    /// For what must share the partition of something else, as a task does that of its uniqueness lock.
    #[must_use]
    pub fn id_in(self, partition: u8, id: TaskId) -> TaskId {
        let count = u32::from(self.0);
        let (tail, partition) = (tail(id), u32::from(partition) % count);
        let base = tail - tail % count;
        let moved = base
            .checked_add(partition)
            .unwrap_or_else(|| base - count + partition);
        let mut bytes = *id.as_bytes();
        bytes[12..].copy_from_slice(&moved.to_be_bytes());
        TaskId::from_bytes(bytes)
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn tail(id: TaskId) -> u32 {
    let [.., a, b, c, d] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// How a queue is divided.
///
/// A divided queue is one queue to every verb: counted, listed, bounded and recovered as one. What differs: the order
/// and the priorities of tasks hold within a partition, not between two; the tasks of one
/// [`enqueue`](Broker::enqueue) are stored whole or not at all in each partition, and where one refuses the caller is
/// told of each task ([`EnqueueError::InPart`](crate::EnqueueError::InPart)); and each partition has an equal share of
/// the bound, so that the queue may be full a little before it, and holds at most one task less than it has partitions
/// beyond it.
pub trait Partitioning: Broker {
    /// Divides `queue`, once and for all, while it holds nothing, dead letters included, and remembers no sends.
    ///
    /// To say again what a queue has is [`Partitioned::Done`] whatever it holds. Nobody else needs to be told: who sends
    /// to the queue or works on it learns of it from the broker, a worker that idles within the longest wait.
    ///
    /// # Errors
    /// [`BrokerError`]. Saying it again is safe after each.
    fn partition(
        &self,
        queue: &QueueName,
        partitions: Partitions,
    ) -> impl Future<Output = Result<Partitioned, BrokerError>> + Send;

    /// How many partitions `queue` has.
    fn partitions(
        &self,
        queue: &QueueName,
    ) -> impl Future<Output = Result<Partitions, BrokerError>> + Send;
}

/// The answer to a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioned {
    /// The queue has that many.
    Done,
    /// It holds tasks, which would be where nobody looks for them: nothing is changed.
    HoldsTasks {
        /// How many.
        len: u64,
    },
    /// It remembers sends, by idempotency keys or for a span of uniqueness, that would not be met in another partition:
    /// nothing is changed.
    RemembersSends {
        /// For how long it does.
        left: Duration,
    },
    /// It was divided otherwise before, and stays so: nothing is changed.
    Fixed {
        /// How many partitions it has.
        present: Partitions,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_1_to_64_partitions() {
        for (count, good) in [(0, false), (1, true), (64, true), (65, false), (256, false)] {
            assert_eq!(Partitions::new(count).is_ok(), good, "{count}");
        }
        let error = Partitions::new(70).unwrap_err().to_string();
        assert!(error.contains("70") && error.contains("64"), "{error}");
    }

    #[test]
    fn an_id_is_moved_into_any_partition_by_its_last_bytes() {
        let ids = [
            TaskId::random(),
            TaskId::from_bytes([0; 16]),
            TaskId::from_bytes([0xff; 16]),
        ];
        for count in [1, 2, 7, 64] {
            let partitions = Partitions::new(count).unwrap();
            for id in ids {
                for partition in 0..partitions.get() {
                    let moved = partitions.id_in(partition, id);
                    assert_eq!(partitions.of(moved), partition, "{count} of {id}");
                    assert_eq!(moved.as_bytes()[..12], id.as_bytes()[..12]);
                }
                assert_eq!(partitions.id_in(partitions.of(id), id), id);
            }
        }
    }

    #[test]
    fn fresh_ids_spread_evenly() {
        let partitions = Partitions::new(8).unwrap();
        let mut counts = [0_u32; 8];
        for _ in 0..8_000 {
            counts[usize::from(partitions.of(TaskId::random()))] += 1;
        }
        assert!(
            counts.iter().all(|count| (700..1_300).contains(count)),
            "{counts:?}"
        );
    }
}
