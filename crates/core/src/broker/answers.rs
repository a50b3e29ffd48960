//! What a queue answers of a task that is sent, or sent again.

use crate::ids::TaskId;

/// The answer to one enqueued task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// Stored.
    New,
    /// This id lives already, holds its key for its span, or was sent with an idempotency key that is still remembered;
    /// nothing was written.
    Duplicate,
    /// Another task holds its key, or its idempotency key was answered with another task; nothing was written.
    Existing(TaskId),
    /// It took the place of this task, which held its key and waited; that one's id stays.
    Replaced(TaskId),
}

impl Enqueued {
    /// The id under which a task that was sent as `sent` is known to the queue.
    pub fn id(self, sent: TaskId) -> TaskId {
        match self {
            Self::New | Self::Duplicate => sent,
            Self::Existing(id) | Self::Replaced(id) => id,
        }
    }

    /// What is answered to the same send again, later in the same call.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::New | Self::Duplicate => Self::Duplicate,
            Self::Existing(id) | Self::Replaced(id) => Self::Existing(id),
        }
    }
}

/// The answer to a revival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revived {
    /// It is ready, or scheduled where it was given a start; with no attempts and no losses, and holds its key if it has
    /// one.
    Ready,
    /// The queue holds no dead letter of this id.
    NotDead,
    /// It is a dead letter still: this task holds its key. Cancel that one, or wait for its end.
    Held(TaskId),
}
