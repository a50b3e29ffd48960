//! What the producers were told of each send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{Millis, TaskId};

/// The kinds of tasks in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Ends at once.
    Quick,
    /// Takes some milliseconds.
    Nap,
    /// Takes longer than a worker that was told to stop waits.
    Long,
    /// Starts a while after it was sent.
    Later,
    /// Fails at its first attempt.
    Flaky,
    /// Asks once to run again later.
    Drowsy,
    /// Runs in a child process of the worker.
    Child,
    /// Takes some milliseconds, now and then as long as `Long`, at most once.
    Once,
    /// At most once, and one task of all that are sent under its idempotency key.
    Keyed,
    /// One lives at a time of all with this key.
    Unique(u8),
    /// Fails for good, and calls back.
    Doomed,
    /// What is sent for a dead `Doomed`: by a worker, so that no ledger has it.
    Callback,
}

impl Kind {
    /// All that producers send, the unique ones as that of one key.
    pub(crate) const SENT: [Self; 11] = [
        Self::Quick,
        Self::Nap,
        Self::Long,
        Self::Later,
        Self::Flaky,
        Self::Drowsy,
        Self::Child,
        Self::Once,
        Self::Keyed,
        Self::Unique(0),
        Self::Doomed,
    ];

    /// Whether no second run of it may start.
    pub fn is_at_most_once(self) -> bool {
        matches!(self, Self::Once | Self::Keyed)
    }

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Nap => "nap",
            Self::Long => "long",
            Self::Later => "later",
            Self::Flaky => "flaky",
            Self::Drowsy => "drowsy",
            Self::Child => "child",
            Self::Once => "once",
            Self::Keyed => "keyed",
            Self::Unique(_) => "unique",
            Self::Doomed => "doomed",
            Self::Callback => "callback",
        }
    }
}

/// How a send was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `Ok`.
    Accepted,
    /// `Ok`, with the handle of another task.
    Existing(TaskId),
    /// It may have been accepted.
    Unknown,
    /// It certainly was not.
    Refused,
}

/// One send, or all under one idempotency key.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What was sent.
    pub kind: Kind,
    /// When the first send began.
    pub began: Millis,
    /// When the last was answered.
    pub answered: Millis,
    /// How; `Ok` if one of them was.
    pub answer: Answer,
    /// The earliest instant at which it may start.
    pub not_before: Millis,
    /// How many sends were told that they made the task.
    pub made: u32,
}

impl Sent {
    fn and(self, other: Self) -> Self {
        let answer = match (self.answer, other.answer) {
            (existing @ Answer::Existing(_), _) | (_, existing @ Answer::Existing(_)) => existing,
            (Answer::Accepted, _) | (_, Answer::Accepted) => Answer::Accepted,
            (Answer::Unknown, _) | (_, Answer::Unknown) => Answer::Unknown,
            (Answer::Refused, Answer::Refused) => Answer::Refused,
        };
        Self {
            kind: self.kind,
            began: self.began.min(other.began),
            answered: self.answered.max(other.answered),
            answer,
            not_before: self.not_before.min(other.not_before),
            made: self.made + other.made,
        }
    }
}

/// All sends so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<TaskId, Sent>>>);

impl Ledger {
    pub(crate) fn note(&self, id: TaskId, sent: Sent) {
        let mut all = self.lock();
        let before = all.get(&id).copied();
        all.insert(id, before.map_or(sent, |before| before.and(sent)));
    }

    /// Everything; later notes are lost.
    pub(crate) fn close(&self) -> HashMap<TaskId, Sent> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
