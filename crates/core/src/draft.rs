//! What a sender says of a task beside its arguments, and the envelope that comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::callbacks::CALLBACK_DEPTH_MAX;
use crate::envelope::{EncodeError, Envelope, TraceContext, When};
use crate::ids::{NameError, QueueName, TaskId, TaskName};
use crate::options::{ResultPolicy, TaskOptions};
use crate::task::{Task, encode_args};
use crate::time::{Millis, hours, ms};
use crate::unique::{Lock, UniqueError};

/// For how long an idempotency key is remembered unless set: longer than a sender that was away tries again, as a rule.
pub const IDEMPOTENCY_TTL_DEFAULT: Duration = hours(24);
/// The longest idempotency key, in bytes: it names a piece of work and does not hold it.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 1024;

/// What the sender says beside the arguments. What is set here takes the place of the task's own option.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Draft {
    /// Options for this one task.
    pub options: TaskOptions,
    /// The id it gets instead of a new one (UUID v7).
    pub id: Option<TaskId>,
    /// What makes it the same send when it is sent again, within the queue and the task; its id follows from this.
    pub idempotency_key: Option<String>,
    /// For how long that is remembered; [`IDEMPOTENCY_TTL_DEFAULT`] unless set.
    pub idempotency_ttl: Option<Duration>,
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

/// What a sender says of the key that a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Uniqueness {
    /// As the task itself says.
    #[default]
    OfTask,
    /// It holds none.
    None,
    /// It holds this one; or why it can hold none.
    Lock(Result<Lock, UniqueError>),
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
    /// One key for all work, such as an empty one, would be one task.
    #[error(
        "an idempotency key has {size} bytes, it must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX}; give each piece of work one of its own"
    )]
    IdempotencyKey {
        /// Its size in bytes.
        size: usize,
    },
    /// A key that is remembered for no time makes no two sends one.
    #[error("idempotency_ttl is {ttl:?}, it must be 1ms or longer; leave it out for a day")]
    IdempotencyTtl {
        /// The span.
        ttl: Duration,
    },
    /// There is nothing to be remembered.
    #[error(
        "idempotency_ttl is of no use without an idempotency key; add .idempotency_key, or take it away"
    )]
    NoIdempotencyKey,
    /// It cannot be unique in the way that was asked for.
    #[error(transparent)]
    Unique(#[from] UniqueError),
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
            Uniqueness::Lock(lock) => Some(lock?),
        };
        let (chosen, same) = (self.id, self.idempotency_key);
        let id = chosen.unwrap_or_else(|| {
            let id = same
                .as_deref()
                .map_or_else(TaskId::random, |key| TaskId::of_send(&queue, &task, key));
            unique.map_or(id, |lock| id.beside(lock.key.as_bytes()))
        });
        let ttl = self.idempotency_ttl.unwrap_or(IDEMPOTENCY_TTL_DEFAULT);
        Ok(Envelope {
            unique,
            remembered: same.is_some().then_some(ttl),
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
        let size = self.idempotency_key.as_ref().map(String::len);
        match (size, self.idempotency_ttl) {
            (Some(_), _) if self.id.is_some() => return Err(DraftError::IdTwice),
            (Some(size), _) if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&size) => {
                return Err(DraftError::IdempotencyKey { size });
            }
            (None, Some(_)) => return Err(DraftError::NoIdempotencyKey),
            (_, Some(ttl)) if ttl < ms(1) => return Err(DraftError::IdempotencyTtl { ttl }),
            _ => {}
        }
        match self.options.backoff {
            Some(backoff) if backoff.is_custom() => Err(DraftError::CustomBackoff),
            _ => Ok(()),
        }
    }
}
