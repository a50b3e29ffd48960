//! What somebody does with dead letters, and how many of them a queue keeps.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::broker::{Broker, BrokerError, Revived};
use crate::envelope::Encoded;
use crate::ids::{QueueName, TaskId};
use crate::size::size_text;
use crate::time::Millis;

mod edit;
mod letter;

pub use edit::{Edit, EditError};
pub use letter::DeadLetter;

/// The most ids of cut dead letters that one [`Cut`] names.
pub const CUT_SHOWN_MAX: usize = 10;

/// Looking after dead letters, many at a time. How many are kept is set by [`Membership::retain`](crate::Membership::retain).
///
/// A verb on many ids takes at most [`BATCH_MAX`](crate::BATCH_MAX) of them. Each task is moved atomically; together they may take
/// several scripts where their envelopes are large, so that an error may leave the first ones moved.
pub trait DeadLetters: Broker {
    /// The dead letter of this id, if there is one.
    fn dead_letter(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> impl Future<Output = Result<Option<DeadLetter>, BrokerError>> + Send;

    /// Makes dead tasks ready again in the order given, with no attempts and no losses. Answers of each what became of it:
    /// an id that stands there twice is dead once.
    fn revive_many(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> impl Future<Output = Result<Vec<Revived>, BrokerError>> + Send;

    /// Gives the dead task of this id another envelope, and makes it ready again, or scheduled where that says so; in
    /// one step. It holds the key of that envelope from then on, or none. [`Revived::NotDead`] unless it is the letter that
    /// died at `died_at`: what was read is what is changed.
    fn revive_edited(
        &self,
        queue: &QueueName,
        died_at: Millis,
        task: Encoded,
    ) -> impl Future<Output = Result<Revived, BrokerError>> + Send;

    /// Removes dead letters for good: nothing is kept of them. Answers of each whether it was one.
    fn purge(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> impl Future<Output = Result<Vec<bool>, BrokerError>> + Send;

    /// Removes the dead letters that died `age` ago or earlier, oldest first, a bounded number a call.
    fn purge_older(
        &self,
        queue: &QueueName,
        age: Duration,
    ) -> impl Future<Output = Result<Purged, BrokerError>> + Send;

    /// How many dead letters there are, what they take, what is kept and what was cut.
    fn dead_letters_summary(
        &self,
        queue: &QueueName,
    ) -> impl Future<Output = Result<DeadLettersSummary, BrokerError>> + Send;
}

/// How many dead letters a queue keeps; `None` is no limit. What is beyond a limit is cut, oldest first, and counted.
///
/// Checked whenever something is buried, and by each round of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Retention {
    /// The most dead letters.
    pub count: Option<u64>,
    /// How long each is kept.
    pub age: Option<Duration>,
    /// The most bytes of their envelopes and failure records together.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Whether nothing is ever cut.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return f.write_str("all");
        }
        let count = self.count.map(|count| format!("{count} letters"));
        let age = self.age.map(|age| format!("{age:?}"));
        let bytes = self
            .bytes
            .map(|bytes| format!("{} together", size_text(bytes)));
        let limits: Vec<String> = [count, age, bytes].into_iter().flatten().collect();
        write!(f, "at most {}", limits.join(", "))
    }
}

/// What retention took away, by the limit that took it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cut {
    /// Beyond [`Retention::count`].
    pub by_count: u64,
    /// Beyond [`Retention::age`].
    pub by_age: u64,
    /// Beyond [`Retention::bytes`].
    pub by_bytes: u64,
    /// The first of them, oldest first, at most [`CUT_SHOWN_MAX`].
    pub oldest: Vec<TaskId>,
}

impl Cut {
    /// How many were taken away.
    pub fn total(&self) -> u64 {
        self.by_count + self.by_age + self.by_bytes
    }
}

/// The answer to [`DeadLetters::purge_older`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Purged {
    /// How many were removed.
    pub count: u64,
    /// Whether another call has more to remove.
    pub more: bool,
}

/// The dead letters of a queue in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeadLettersSummary {
    /// The instant of the look.
    pub now: Millis,
    /// How many there are.
    pub count: u64,
    /// The bytes of their envelopes and failure records: the sum of each [`DeadLetter::size`].
    pub bytes: u64,
    /// What is kept.
    pub retention: Retention,
    /// How many retention has cut since the queue is there.
    pub cut: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::mib;
    use crate::time::secs;

    #[test]
    fn a_retention_is_told_in_words() {
        let none = Retention::default();
        let two = Retention {
            count: Some(500),
            bytes: Some(mib(100)),
            ..none
        };
        let age = Retention {
            age: Some(secs(60)),
            ..none
        };
        for (retention, text) in [
            (none, "all"),
            (two, "at most 500 letters, 100MiB together"),
            (age, "at most 60s"),
        ] {
            assert_eq!(retention.to_string(), text);
        }
    }
}
