//! How queues are divided, as far as a handle knows (docs/decisions/010).
//!
//! A queue counts as undivided until Redis says otherwise. Its first partition has the keys of an undivided queue and
//! alone says how many there are: what a handle that does not know sends there is answered with the division, and
//! nothing has happened. A handle sends to another partition only when it knows, and a division never changes again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{BrokerError, Partitions, QueueName, TaskId, WorkerId};

use crate::broker::{QUEUES_REMEMBERED_MAX, Shared};
use crate::{partitioned, transitions};

/// The identities that are remembered as registered in an undivided queue. Those that are forgotten are lost, and their
/// workers take new ones, where that queue is divided later.
const WORKERS_REMEMBERED_MAX: usize = 10_000;

/// What `Q:meta` says of a queue: `PARTITIONS:SEEN`, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Division {
    pub(crate) partitions: Partitions,
    /// The highest number of an outgoing task that the queue had seen when it was divided.
    pub(crate) seen: u64,
}

impl Division {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let (count, seen) = std::str::from_utf8(text).ok()?.split_once(':')?;
        Some(Self {
            partitions: Partitions::new(count.parse().ok()?).ok()?,
            seen: seen.parse().ok()?,
        })
    }

    fn parts(self, queue: &QueueName) -> Arc<[Part]> {
        if self.partitions == Partitions::ONE {
            return Arc::new([Part::whole(queue)]);
        }
        let parts = (0..self.partitions.get()).map(|number| Part {
            name: match number {
                0 => queue.clone(),
                _ => queue.partition(number),
            },
            number: Some(number),
            division: if number == 0 {
                self.to_string()
            } else {
                String::new()
            },
            seen: self.seen,
        });
        parts.collect()
    }
}

impl fmt::Display for Division {
    /// As it stands in `Q:meta`: empty of an undivided queue, where there is no such field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partitions {
            Partitions::ONE => Ok(()),
            partitions => write!(f, "{partitions}:{}", self.seen),
        }
    }
}

/// One partition, or an undivided queue.
#[derive(Debug)]
pub(crate) struct Part {
    /// Whose keys it has.
    pub(crate) name: QueueName,
    /// Which one it is, where there are others.
    pub(crate) number: Option<u8>,
    /// What its `Q:meta` must say of the division.
    pub(crate) division: String,
    /// See [`Division::seen`].
    pub(crate) seen: u64,
}

impl Part {
    pub(crate) fn whole(queue: &QueueName) -> Self {
        Self {
            name: queue.clone(),
            number: None,
            division: String::new(),
            seen: 0,
        }
    }
}

/// The partition among `parts` that a task is in.
pub(crate) fn part_of(parts: &[Part], id: TaskId) -> usize {
    Partitions::new(parts.len() as u64).map_or(0, |partitions| usize::from(partitions.of(id)))
}

/// What all handles that come from one know.
#[derive(Default)]
pub(crate) struct Divisions {
    /// Whether some queue is divided. Until then nothing is looked up.
    some: AtomicBool,
    by_queue: Mutex<HashMap<QueueName, Arc<[Part]>>>,
    /// The identities that were registered in a queue that was not divided.
    whole: Mutex<HashSet<WorkerId>>,
    turns: Mutex<HashMap<QueueName, usize>>,
}

impl Divisions {
    /// The partitions of a queue that is known to have several. Costs nothing where no queue has.
    pub(crate) fn several(&self, queue: &QueueName) -> Option<Arc<[Part]>> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        self.known(queue).filter(|parts| 1 < parts.len())
    }

    fn known(&self, queue: &QueueName) -> Option<Arc<[Part]>> {
        lock(&self.by_queue).get(queue).cloned()
    }

    /// Notes what Redis has said.
    pub(crate) fn learn(&self, queue: &QueueName, division: Division) -> Arc<[Part]> {
        let parts = division.parts(queue);
        let mut by_queue = lock(&self.by_queue);
        if QUEUES_REMEMBERED_MAX <= by_queue.len() {
            by_queue.clear();
        }
        by_queue.insert(queue.clone(), parts.clone());
        drop(by_queue);
        if 1 < parts.len() {
            self.some.store(true, Ordering::Release);
        }
        parts
    }

    /// A number that grows by one with every claim from the queue, so that another partition comes first each time. One for
    /// all queues would give each, where they take turns, the same ones over and over.
    pub(crate) fn turn(&self, queue: &QueueName) -> usize {
        let mut turns = lock(&self.turns);
        if QUEUES_REMEMBERED_MAX <= turns.len() && !turns.contains_key(queue) {
            turns.clear();
        }
        let next = turns.entry(queue.clone()).or_insert(0);
        let turn = *next;
        *next = turn.wrapping_add(1);
        turn
    }

    pub(crate) fn registered_whole(&self, worker: WorkerId) {
        let mut whole = lock(&self.whole);
        if WORKERS_REMEMBERED_MAX <= whole.len() {
            whole.clear();
        }
        whole.insert(worker);
    }

    pub(crate) fn is_registered_whole(&self, worker: WorkerId) -> bool {
        lock(&self.whole).contains(&worker)
    }

    pub(crate) fn forget(&self, worker: WorkerId) {
        lock(&self.whole).remove(&worker);
    }
}

impl Shared {
    /// The partitions of a queue, by what was heard last; Redis is asked where nothing was.
    pub(crate) async fn parts(&self, queue: &QueueName) -> Result<Arc<[Part]>, BrokerError> {
        match self.divisions.known(queue) {
            Some(parts) => Ok(parts),
            None => self.parts_now(queue).await,
        }
    }

    /// The partitions of a queue, by what Redis says now.
    pub(crate) async fn parts_now(&self, queue: &QueueName) -> Result<Arc<[Part]>, BrokerError> {
        let division = transitions::partitions(self, queue).await?;
        self.told(queue, division).await
    }

    /// The partitions of a queue, of which Redis has just said how it is divided.
    ///
    /// A division never changes. Where there is none any more, Redis has lost it, as by a failover; whoever knows it
    /// writes it again, for what is in the other partitions would stay there. Until that has succeeded the queue is
    /// undivided to nobody who knows better, and an error here is why.
    pub(crate) async fn told(
        &self,
        queue: &QueueName,
        division: Division,
    ) -> Result<Arc<[Part]>, BrokerError> {
        let known = self.divisions.several(queue);
        let Some(known) = known.filter(|_| division.partitions == Partitions::ONE) else {
            return Ok(self.divisions.learn(queue, division));
        };
        let (division, was_gone, bound) =
            transitions::redivide(self, queue, &known[0].division).await?;
        let parts = self.divisions.learn(queue, division);
        if was_gone {
            tracing::warn!(%queue, partitions = %division.partitions, "the queue had lost its division, as by a failover: it is written again");
        }
        if bound.is_some()
            && let Err(error) = partitioned::share_bound(self, &parts, bound).await
        {
            tracing::warn!(%queue, %error, "its bound is not shared out among its partitions: set it again");
        }
        Ok(parts)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_division_is_read_as_it_is_written() {
        for text in ["", "2:0", "64:1700000000000000"] {
            let division = Division::parse(text.as_bytes()).unwrap();
            assert_eq!(division.to_string(), text);
        }
        for text in ["8", "0:0", "65:0", "8:", ":1", "8:-1", "eight:0"] {
            assert_eq!(Division::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn only_the_first_partition_says_how_many_there_are() {
        let queue = QueueName::parse("mail").unwrap();
        let parts = Division::parse(b"3:7").unwrap().parts(&queue);
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["mail", "mail#1", "mail#2"]);
        let said: Vec<&str> = parts.iter().map(|part| part.division.as_str()).collect();
        assert_eq!(said, ["3:7", "", ""]);
    }
}
