//! What is called when a task has failed for good, whoever buries it.

use std::future::Future;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError};
use crate::dead_letters::DeadLetter;
use crate::envelope::{EncodeError, Envelope};
use crate::error::TaskError;
use crate::failure::Failure;
use crate::ids::{NameError, QueueName, TaskId, TaskName};
use crate::options::{Ack, Priority, TaskOptions};
use crate::task::{Task, decode_args};
use crate::time::Millis;

/// How many callbacks deep a message says what to call: one for the task, one for its callback, one for that one's.
pub const CALLBACK_DEPTH_MAX: usize = 3;

/// How the broker is asked about callbacks that are owed.
///
/// A task whose envelope names a callback owes it from the moment in which it becomes a dead letter, by the same atomic
/// step, until somebody says that it was called back for that death. One that is revived or cancelled before owes none.
pub trait Callbacks: Broker {
    /// The dead tasks of `queue` whose callback is owed, those that have waited longest first: at most `max`, fewer
    /// where they are large. Nobody else is shown them for `patience`.
    ///
    /// # Cancel safety
    /// What is not called back is shown again after `patience`.
    fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> impl Future<Output = Result<Vec<Owed>, BrokerError>> + Send;

    /// Notes that these tasks were called back for their death at the instant named. Another death owes another call.
    fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// A dead task whose callback is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The task, when it died, and why.
    pub letter: DeadLetter,
    /// How often a worker was lost while it held the task.
    pub losses: u32,
}

impl Owed {
    /// The message of the callback; `None` where the task's bytes do not tell whom to call.
    ///
    /// Its id follows from the task and its death, so that to send it again is one task for as long as it lives. The
    /// arguments of a task that would make it too large are left out.
    pub fn callback(&self) -> Option<Envelope> {
        let letter = &self.letter;
        let failed = Envelope::decode(&letter.bytes).ok()?;
        let callback = failed.on_failure.clone()?;
        let run = letter.failure.run.as_ref();
        let attempt = run.and_then(|run| run.attempt);
        let losses = run.and_then(|run| run.losses);
        let report = FailedTask {
            id: letter.id,
            attempts: attempt.unwrap_or_else(|| failed.attempts.into()),
            task: failed.task,
            queue: failed.queue,
            args: failed.args,
            failure: Failure {
                run: None,
                ..letter.failure.clone()
            },
            losses: losses.unwrap_or(self.losses),
            died_at: letter.died_at,
        };
        let name = [
            b"on failure: ".as_slice(),
            letter.id.as_bytes(),
            &letter.died_at.get().to_be_bytes(),
        ]
        .concat();
        let mut envelope = Envelope {
            priority: callback.priority,
            ack: callback.ack,
            sent_at: letter.died_at,
            root: Some(failed.root.unwrap_or(letter.id)),
            parent: Some(letter.id),
            trace: failed.trace,
            on_failure: callback.on_failure.map(|next| *next),
            ..Envelope::new(
                TaskId::derived(&name),
                callback.task,
                callback.queue,
                report.to_args(),
            )
        };
        if matches!(envelope.encode(), Err(EncodeError::TooLarge { .. })) {
            let without = FailedTask {
                args: Bytes::new(),
                ..report
            };
            envelope.args = without.to_args();
        }
        Some(envelope)
    }
}

/// What a callback is told of the task that failed: the one argument of a task named in `on_failure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct FailedTask {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub task: TaskName,
    /// The queue whose dead letters it is among.
    pub queue: QueueName,
    /// Its arguments, encoded; empty where they are too large to be sent once more. [`Self::message`] reads them.
    pub args: Bytes,
    /// Why it failed.
    pub failure: Failure,
    /// The attempts that were made.
    pub attempts: u32,
    /// How often a worker was lost while it held the task.
    pub losses: u32,
    /// When it became a dead letter, by the broker's clock.
    pub died_at: Millis,
}

impl FailedTask {
    /// Its message, for a callback that knows the task.
    ///
    /// # Errors
    /// A permanent one where it was another task, or its arguments cannot be read.
    pub fn message<T: Task>(&self) -> anyhow::Result<T> {
        message_of(&self.task, &self.args).map_err(TaskError::into_anyhow)
    }

    /// As the only field of a message, whatever its name is: fields may come in their order.
    fn to_args(&self) -> Bytes {
        let args = rmp_serde::to_vec_named(&(self,));
        args.expect("texts, numbers and bytes always encode").into()
    }
}

/// The message of a task that failed, where its name is that of `T`.
pub(crate) fn message_of<T: Task>(task: &TaskName, args: &[u8]) -> Result<T, TaskError> {
    if task.as_str() != T::NAME {
        let reason = format!("the task that failed is {task}, not {}", T::NAME);
        return Err(TaskError::permanent(TaskError::new(reason)));
    }
    decode_args(args)
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(with = "serde_bytes")]
    id: Vec<u8>,
    task: TaskName,
    queue: QueueName,
    #[serde(with = "serde_bytes")]
    args: Vec<u8>,
    failure: Failure,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    losses: u32,
    died_at: Millis,
}

impl From<FailedTask> for Wire {
    fn from(failed: FailedTask) -> Self {
        Self {
            id: failed.id.as_bytes().to_vec(),
            task: failed.task,
            queue: failed.queue,
            args: failed.args.to_vec(),
            failure: failed.failure,
            attempts: failed.attempts,
            losses: failed.losses,
            died_at: failed.died_at,
        }
    }
}

impl TryFrom<Wire> for FailedTask {
    type Error = std::array::TryFromSliceError;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        Ok(Self {
            id: TaskId::try_from(wire.id.as_slice())?,
            task: wire.task,
            queue: wire.queue,
            args: wire.args.into(),
            failure: wire.failure,
            attempts: wire.attempts,
            losses: wire.losses,
            died_at: wire.died_at,
        })
    }
}

/// The task that a task's options name for its failure.
#[derive(Clone, Copy, Debug)]
pub struct OnFailure {
    name: &'static str,
    options: fn() -> TaskOptions,
}

impl OnFailure {
    /// The task whose message `callback` makes: a builder that takes a [`FailedTask`], and nothing else.
    pub fn of<T: Task>(callback: fn(FailedTask) -> T) -> Self {
        // Only its type says anything: the message is made by whoever finds the task dead.
        let _ = callback;
        Self {
            name: T::NAME,
            options: T::options,
        }
    }

    /// What an envelope says of it, `depth` callbacks deep.
    pub(crate) fn callback(self, depth: usize) -> Result<Callback, NameError> {
        let own = (self.options)();
        let queue = own.queue.as_deref().unwrap_or(TaskOptions::QUEUE_DEFAULT);
        let next = own.on_failure.filter(|_| 1 < depth);
        Ok(Callback {
            task: TaskName::parse(self.name)?,
            queue: QueueName::parse(queue)?,
            priority: own.priority.unwrap_or_default(),
            ack: own.ack.unwrap_or_default(),
            on_failure: next
                .map(|next| next.callback(depth - 1).map(Box::new))
                .transpose()?,
        })
    }
}

/// Whom to call when a task has failed for good, as its envelope says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The name of the task.
    pub task: TaskName,
    /// Its queue.
    pub queue: QueueName,
    /// Its priority.
    pub priority: Priority,
    /// When it counts as taken.
    pub ack: Ack,
    /// Whom to call when it fails itself.
    pub on_failure: Option<Box<Callback>>,
}

/// How a callback travels in an envelope: `docs/protocol.md`.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireCallback {
    #[serde(rename = "t")]
    task: TaskName,
    #[serde(rename = "q")]
    queue: QueueName,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    early: bool,
    #[serde(rename = "of", default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<Box<WireCallback>>,
}

impl From<&Callback> for WireCallback {
    fn from(callback: &Callback) -> Self {
        let next = callback.on_failure.as_deref();
        Self {
            task: callback.task.clone(),
            queue: callback.queue.clone(),
            priority: Some(callback.priority).filter(|level| *level != Priority::default()),
            early: callback.ack == Ack::Early,
            on_failure: next.map(|next| Box::new(next.into())),
        }
    }
}

impl From<WireCallback> for Callback {
    fn from(wire: WireCallback) -> Self {
        Self {
            task: wire.task,
            queue: wire.queue,
            priority: wire
                .priority
                .map_or_else(Priority::default, |level| Priority::new(level.get())),
            ack: if wire.early { Ack::Early } else { Ack::Late },
            on_failure: wire.on_failure.map(|next| Box::new((*next).into())),
        }
    }
}

#[cfg(test)]
mod tests;
