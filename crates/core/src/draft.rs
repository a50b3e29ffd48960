//! What a sender says of a task beside its arguments, and the envelope that comes of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::envelope::{EncodeError, Envelope, TraceContext, When};
use crate::ids::{NameError, QueueName, TaskId, TaskName};
use crate::options::{ResultPolicy, TaskOptions};
use crate::task::{Task, encode_args};
use crate::time::Millis;

/// What the sender says beside the arguments. What is set here takes the place of the task's own option.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Draft {
    /// Options for this one task.
    pub options: TaskOptions,
    /// The id it gets instead of a new one (UUID v7).
    pub id: Option<TaskId>,
    /// When it starts at the earliest.
    pub start: Option<When>,
    /// When it starts no more; takes the place of the span in the options.
    pub expires: Option<When>,
    /// The first task of those it descends from.
    pub root: Option<TaskId>,
    /// The task that sent it.
    pub parent: Option<TaskId>,
    /// The trace that it continues.
    pub trace: Option<TraceContext>,
    /// What its body sees beside the arguments.
    pub headers: BTreeMap<String, String>,
}

/// Why a draft makes no envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The name of the task or of its queue is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The backoff is a function of the program that says it.
    #[error("a custom backoff is a function and does not travel; set it on the task itself")]
    CustomBackoff,
    /// The arguments cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Draft {
    /// The envelope of `message`, sent at `now`.
    pub fn envelope<T: Task>(self, message: &T, now: Millis) -> Result<Envelope, DraftError> {
        self.check()?;
        // The name is looked at before the arguments: an error about these names the task.
        let task = TaskName::parse(T::NAME)?;
        let args = encode_args(message).map_err(|error| EncodeError::Args {
            task: task.clone(),
            reason: error.to_string(),
        })?;
        self.envelope_of(task, args, T::options(), now)
    }

    /// The envelope of a task with encoded arguments, whose own options are `own`, sent at `now`.
    pub fn envelope_of(
        self,
        task: TaskName,
        args: Bytes,
        own: TaskOptions,
        now: Millis,
    ) -> Result<Envelope, DraftError> {
        self.check()?;
        let said = self.options;
        // How it runs is looked up by the worker in its own build of the task, so only what this send says of it
        // travels. Where it goes, in what order, and what is kept of it is decided here.
        let (max_retries, backoff) = (said.max_retries, said.backoff);
        let (timeout, hard_timeout) = (said.timeout, said.hard_timeout);
        let all = said.over(own);
        let queue = all.queue.as_deref().unwrap_or(TaskOptions::QUEUE_DEFAULT);
        let queue = QueueName::parse(queue)?;
        let id = self.id.unwrap_or_else(TaskId::random);
        Ok(Envelope {
            priority: all.priority.unwrap_or_default(),
            ack: all.ack.unwrap_or_default(),
            start: self.start,
            expires: self.expires.or(all.expires.map(When::In)),
            sent_at: now,
            max_retries,
            backoff,
            timeout,
            hard_timeout,
            result_ttl: match all.result.unwrap_or_default() {
                ResultPolicy::Keep(span) => Some(span),
                ResultPolicy::Ignore => None,
            },
            root: self.root,
            parent: self.parent,
            trace: self.trace,
            headers: self.headers,
            ..Envelope::new(id, task, queue, args)
        })
    }

    fn check(&self) -> Result<(), DraftError> {
        match self.options.backoff {
            Some(backoff) if backoff.is_custom() => Err(DraftError::CustomBackoff),
            _ => Ok(()),
        }
    }
}
