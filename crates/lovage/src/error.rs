//! What a caller can be told: one enum an operation, a variant where they would act differently.

use std::fmt;

use lovage_core::{
    BrokerError, Confirmation, DraftError, Durability, EncodeError, EnqueueError, Failure,
    NameError, QueueName, TaskId, TransportError,
};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address names no broker that this build can speak to.
    #[error(
        "{address:?} is no broker's address: {reason}; use redis://HOST[:PORT], rediss://HOST[:PORT] (TLS), \
         unix:/PATH, redis+sentinel://HOST,HOST/SERVICE, redis+cluster://HOST,HOST, or memory:// or memory://NAME for \
         one inside this process"
    )]
    Address {
        /// The address as given, without a password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The scheme is known, and its broker is not part of this build.
    #[error("{scheme} needs the feature {feature:?} of the crate lovage")]
    Feature {
        /// The scheme.
        scheme: &'static str,
        /// The feature to switch on.
        feature: &'static str,
    },
    /// The spool cannot be used.
    #[cfg(feature = "spool")]
    #[error(transparent)]
    Spool(#[from] crate::spool::SpoolError),
    /// Nobody answers there, or not yet.
    #[error("cannot connect: {0}")]
    Unreachable(TransportError),
    /// Somebody must act: password, permission, certificate, namespace, a server that is too old.
    #[error("cannot connect until somebody acts: {0}")]
    Misconfigured(TransportError),
}

/// Why a task was not certainly accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The task cannot be sent as it was put together: nothing was sent.
    #[error("task {task:?} cannot be sent: {reason}")]
    Invalid {
        /// The name of the task.
        task: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Its arguments cannot be written, or are too large: nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The queue has reached its bound: the task is not stored. Send it later, or let fewer in.
    #[error("queue {queue} is full: {len} tasks of {bound}; try again when workers have caught up")]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// How many tasks it holds.
        len: u64,
        /// How many it may hold.
        bound: u64,
    },
    /// The sends under way hold all the bytes that they may: the task is certainly not stored. Send fewer at a time, or
    /// allow more.
    #[error(
        "the task is not stored: sends that wait for the broker hold {held} bytes, the limit is {limit}; send fewer at \
         a time, or raise waiting_bytes_max"
    )]
    Overloaded {
        /// The bytes that sends under way hold.
        held: usize,
        /// The most that they may.
        limit: usize,
    },
    /// The broker does not take the task now, and the spool has no room: it is certainly not stored. Send fewer until the
    /// broker is back, or allow more.
    #[cfg(feature = "spool")]
    #[error(
        "the task is not stored: the broker does not take it now, and the spool holds {tasks} tasks of {tasks_max} with \
         {bytes} bytes of {bytes_max}"
    )]
    SpoolFull {
        /// How many tasks the spool holds, those set aside included.
        tasks: u64,
        /// How many it may hold.
        tasks_max: u64,
        /// The bytes of those that wait.
        bytes: u64,
        /// How many bytes it may hold.
        bytes_max: u64,
    },
    /// The broker refused, or was never reached, until the deadline ended: the task is certainly not stored.
    #[error("the task is not stored: {0}")]
    Refused(TransportError),
    /// Somebody must act (password, permission, wrong type at a key): the task is certainly not stored.
    #[error("the task is not stored, and will not be until somebody acts: {0}")]
    Misconfigured(TransportError),
    /// The task is stored, and whoever was to confirm it has not done so in time: it runs as any other, and a failover
    /// or a loss of power may lose it. Sending it again with the same id asks for the confirmation again; that is safe
    /// unless it may run at most once, and with the same idempotency key always.
    #[error(
        "task {id} is stored, and {} of {} replicas confirmed it in time{}; a failover may lose it; sending it again \
         with .id({id}), or its idempotency key, asks again; by its id alone that is not safe if it may run at most once; \
         .within({:?}) and the deadline of the send bound the wait",
        by.replicas, wanted.replicas,
        if wanted.fsync && !by.fsynced { ", the primary not on its disk" } else { "" },
        wanted.within,
    )]
    NotConfirmed {
        /// The task.
        id: TaskId,
        /// What was asked for; less time than that may have passed, where the deadline of the send left less.
        wanted: Durability,
        /// Who has confirmed it.
        by: Confirmation,
    },
    /// The task may have been accepted: an answer is missing. Sending it again with the same id is safe unless it may
    /// run at most once; with the same idempotency key it is safe always.
    #[error(
        "task {id} may have been accepted; sending it again with .id({id}), or its idempotency key, is safe; by its id \
         alone not if it may run at most once: {source}"
    )]
    Unknown {
        /// The task. While it lives, sending the same id again is the same task. One that has ended meanwhile runs
        /// again, unless it was sent with an idempotency key. Of a unique task another one may have been accepted.
        id: TaskId,
        /// What is known of the missing answer.
        r#source: TransportError,
    },
}

impl SendError {
    pub(crate) fn invalid(task: &'static str, reason: &dyn fmt::Display) -> Self {
        Self::Invalid {
            task,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn from_draft(error: DraftError, task: &'static str) -> Self {
        match error {
            DraftError::Encode(error) => Self::Encode(error),
            other => Self::invalid(task, &other),
        }
    }

    pub(crate) fn from_enqueue(error: EnqueueError, id: TaskId, task: &'static str) -> Self {
        match error {
            EnqueueError::QueueFull { queue, len, bound } => Self::QueueFull { queue, len, bound },
            EnqueueError::Refused(source) => Self::Refused(source),
            EnqueueError::Misconfigured(source) => Self::Misconfigured(source),
            EnqueueError::Unknown(source) => Self::Unknown { id, source },
            // Of many: which of them it is true of is not said here.
            EnqueueError::InPart { .. } => Self::Unknown {
                id,
                source: TransportError::new(error),
            },
            // BatchTooLarge, and what a newer core adds: nothing is stored unless it says Unknown.
            other => Self::invalid(task, &other),
        }
    }
}

/// Why a bulk send ended early.
#[derive(Debug, thiserror::Error)]
#[error("{} tasks were accepted before this: {source}", accepted.len())]
pub struct SendAllError {
    /// The tasks that are certainly accepted, in any order. A batch is accepted whole or not at all, in each partition
    /// where the queue has several.
    pub accepted: Vec<TaskId>,
    /// Tasks that may have been accepted: sending them again with the same ids is safe unless they may run at most
    /// once.
    pub unknown: Vec<TaskId>,
    /// Tasks that are kept on this host, until the broker takes them.
    #[cfg(feature = "spool")]
    pub spooled: Vec<TaskId>,
    /// Tasks that are stored and were not confirmed as was asked for; see [`SendError::NotConfirmed`].
    pub unconfirmed: Vec<TaskId>,
    /// Why the others were not.
    pub r#source: SendError,
}

/// Why a result was not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The task failed and will not run again.
    #[error("the task failed: {0}")]
    Failed(Failure),
    /// The task was cancelled.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task had expired before a worker could start it.
    #[error("the task expired before a worker could start it")]
    Expired,
    /// The task has ended, and it was sent with a result that is not kept: it may have ended in any way.
    #[error("the task has ended, and its result is not kept")]
    NotKept,
    /// The queue knows neither the task nor its result: never sent there, or ended longer ago than results are kept.
    #[error("the queue knows neither the task nor its result")]
    Unknown,
    /// The task has not ended yet.
    #[error("the task has not ended yet")]
    TimedOut,
    /// There is a result, and it is not what this task answers: another version of the task may have written it.
    #[error("the result cannot be read: {reason}")]
    Decode {
        /// What is wrong with it.
        reason: String,
    },
    /// The broker could not be asked.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Why a question to a queue, or an order for it, was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The queue's name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The broker did not do it, or did not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}
