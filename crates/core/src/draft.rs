//! What a sender says of a task beside its arguments, and the envelope that comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::callbacks::CALLBACK_DEPTH_MAX;
use crate::envelope::{EncodeError, Envelope, TraceContext, When};
use crate::ids::{NameError, QueueName, TaskId, TaskName};
use crate::options::{ResultPolicy, TaskOptions};
use crate::task::{Task, encode_args};
use crate::time::{Millis, hours};
use crate::unique::Lock;

/// What the sender says beside the arguments. What is set here takes the place of the task's own option.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Draft {
    /// Options for this one task.
    pub options: TaskOptions,
    /// The id it gets instead of a new one (UUID v7).
    pub id: Option<TaskId>,
    /// What makes it the same send when it is sent again; its id follows from this.
    pub idempotency: Option<Idempotency>,
    /// Which key it holds.
    pub unique: Uniqueness,
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

/// What makes a send the same as an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// What the sender calls it, within the queue and the task.
    pub key: String,
    /// For how long it is remembered; a day unless set.
    pub ttl: Option<Duration>,
}

impl Idempotency {
    /// Longer than a sender that was away tries again, as a rule.
    pub const TTL_DEFAULT: Duration = hours(24);
}

/// What a sender says of the key that a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Uniqueness {
    /// As the task itself says.
    #[default]
    OfTask,
    /// It holds none.
    None,
    /// It holds this one; or why the key cannot be written.
    Lock(Result<Lock, String>),
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
    /// The id of a send with an idempotency key follows from that.
    #[error("an idempotency key makes the id; take .id or .idempotency_key away")]
    IdTwice,
    /// The key of a unique task cannot be written.
    #[error("the key of a unique task cannot be written: {reason}")]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// The arguments cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Draft {
    /// The envelope of `message`, sent at `now`.
    pub fn envelope<T: Task>(mut self, message: &T, now: Millis) -> Result<Envelope, DraftError> {
        self.check()?;
        if self.unique == Uniqueness::OfTask
            && let Some(unique) = T::unique()
        {
            self.unique = Uniqueness::Lock(unique.lock(message));
        }
        // The name is looked at before the arguments: an error about these names the task.
        let task = TaskName::parse(T::NAME)?;
        let args = encode_args(message).map_err(|error| EncodeError::Args {
            task: task.clone(),
            reason: error.to_string(),
        })?;
        self.envelope_of(task, args, T::options(), now)
    }

    /// The envelope of a task with encoded arguments, whose own options are `own`, sent at `now`. What the task says of
    /// its uniqueness is not known here.
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
        let unique = match self.unique {
            Uniqueness::OfTask | Uniqueness::None => None,
            Uniqueness::Lock(lock) => Some(lock.map_err(|reason| DraftError::Key { reason })?),
        };
        let (chosen, idempotency) = (self.id, self.idempotency);
        let id = chosen.unwrap_or_else(|| {
            let id = idempotency.as_ref().map_or_else(TaskId::random, |same| {
                TaskId::of_send(&queue, &task, &same.key)
            });
            unique.map_or(id, |lock| id.beside(lock.key.as_bytes()))
        });
        let ttl = |same: Idempotency| same.ttl.unwrap_or(Idempotency::TTL_DEFAULT);
        Ok(Envelope {
            unique,
            remembered: idempotency.map(ttl),
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
            on_failure: all
                .on_failure
                .map(|on_failure| on_failure.callback(CALLBACK_DEPTH_MAX))
                .transpose()?,
            ..Envelope::new(id, task, queue, args)
        })
    }

    fn check(&self) -> Result<(), DraftError> {
        if self.id.is_some() && self.idempotency.is_some() {
            return Err(DraftError::IdTwice);
        }
        match self.options.backoff {
            Some(backoff) if backoff.is_custom() => Err(DraftError::CustomBackoff),
            _ => Ok(()),
        }
    }
}
