//! What the producers were told of each send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{Millis, TaskId};

/// The kinds of tasks in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends at once.
    Quick,
    /// Takes some milliseconds.
    Nap,
    /// Takes some milliseconds, at most once.
    Once,
    /// Fails at its first attempt.
    Flaky,
    /// Starts a while after it was sent.
    Later,
}

/// How a send was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `Ok`.
    Accepted,
    /// It may have been accepted.
    Unknown,
    /// It certainly was not.
    Refused,
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What was sent.
    pub kind: Kind,
    /// When the send began.
    pub began: Millis,
    /// When it was answered.
    pub answered: Millis,
    /// How.
    pub answer: Answer,
    /// The earliest instant at which it may start.
    pub not_before: Millis,
}

/// All sends so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<TaskId, Sent>>>);

impl Ledger {
    pub(crate) fn note(&self, id: TaskId, sent: Sent) {
        self.lock().insert(id, sent);
    }

    /// Everything; later notes are lost.
    pub(crate) fn close(&self) -> HashMap<TaskId, Sent> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
