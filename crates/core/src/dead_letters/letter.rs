//! One dead letter, and what it says of its task.

use std::fmt;

use bytes::Bytes;

use crate::callbacks::message_of;
use crate::envelope::{DecodeError, Envelope};
use crate::error::TaskError;
use crate::failure::Failure;
use crate::ids::{TaskId, TaskName};
use crate::task::Task;
use crate::time::Millis;

/// A task that will not run by itself any more. Its `Display` and `Debug` leave the arguments out, for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The task.
    pub id: TaskId,
    /// When it died.
    pub died_at: Millis,
    /// Why.
    pub failure: Failure,
    /// The envelope as stored.
    pub bytes: Bytes,
    /// What it takes: the bytes of its envelope and of its failure record.
    pub size: u64,
}

impl DeadLetter {
    /// What was sent.
    ///
    /// # Errors
    /// Where the bytes are no envelope that this build reads; that may be why it is dead.
    pub fn envelope(&self) -> Result<Envelope, DecodeError> {
        Envelope::decode(&self.bytes)
    }

    /// The name of its task, where its envelope can be read.
    pub fn task(&self) -> Option<TaskName> {
        Some(self.envelope().ok()?.task)
    }

    /// Its message, for a program that knows the task.
    ///
    /// # Errors
    /// Where it is another task, or its envelope or its arguments cannot be read.
    pub fn message<T: Task>(&self) -> anyhow::Result<T> {
        let envelope = self.envelope()?;
        message_of(&envelope.task, &envelope.args).map_err(TaskError::into_anyhow)
    }
}

/// The id, the task, when it died and why.
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        match self.task() {
            Some(task) => write!(f, "{task}")?,
            None => f.write_str("of an unknown task")?,
        }
        write!(f, " died at {}: {}", self.died_at, self.failure)
    }
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("task", &self.task())
            .field("died_at", &self.died_at)
            .field("failure", &self.failure)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
