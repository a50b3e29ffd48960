//! Sends that are confirmed by more than the memory of one server.

use std::future::Future;
use std::time::Duration;

use crate::broker::{Broker, EnqueueError, Enqueued};
use crate::envelope::Encoded;
use crate::ids::QueueName;
use crate::time::secs;

/// What has to hold a task, beside the primary's memory, before its send counts as done.
///
/// ```
/// use lovage_core::{Durability, ms};
///
/// let on_two_replicas = Durability::replicas(2);
/// let on_disk_here_and_there = Durability::replicas(1).fsync().within(ms(1500));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "it asks for nothing until a send is given it"]
#[non_exhaustive]
pub struct Durability {
    /// How many replicas must have it.
    pub replicas: u16,
    /// Whether the primary and as many replicas must have it on disk.
    pub fsync: bool,
    /// How long may pass until they confirm, from when it is stored.
    pub within: Duration,
}

impl Durability {
    /// Nothing beside the primary's memory: what a plain send asks for.
    pub const NONE: Self = Self::replicas(0);

    /// Confirmed by `count` replicas, within a second.
    pub const fn replicas(count: u16) -> Self {
        Self {
            replicas: count,
            fsync: false,
            within: secs(1),
        }
    }

    /// Asks for it to be on disk: the primary's, and that of as many replicas.
    pub const fn fsync(mut self) -> Self {
        self.fsync = true;
        self
    }

    /// Waits at most `span` for the confirmation: to the millisecond, at most thirty seconds, and at most three quarters of
    /// what the deadline of the send leaves; with the usual one of two seconds, at most 1.5 s.
    pub const fn within(mut self, span: Duration) -> Self {
        self.within = span;
        self
    }

    /// Whether it asks for nothing.
    pub const fn is_none(&self) -> bool {
        self.replicas == 0 && !self.fsync
    }
}

/// Who has confirmed that they hold a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Confirmation {
    /// The replicas; those that have it on disk, where that was asked for.
    pub replicas: u64,
    /// Whether the primary has it on disk; `false` where that was not asked for.
    pub fsynced: bool,
}

impl Confirmation {
    /// Whether it is all that was asked for.
    pub fn meets(&self, wanted: &Durability) -> bool {
        u64::from(wanted.replicas) <= self.replicas && (self.fsynced || !wanted.fsync)
    }
}

/// The answer to a confirmed enqueue: the tasks are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// What a plain enqueue answers.
    pub answers: Vec<Enqueued>,
    /// Who has confirmed all of them. None, where nobody answered the question.
    pub by: Confirmation,
}

/// How a producer learns that what it has sent survives its broker.
pub trait Durable: Broker {
    /// Stores tasks as [`Broker::enqueue`] does, then waits until they are confirmed, at most [`Durability::within`].
    ///
    /// A duplicate is confirmed anew: its earlier send may have ended without. What was not confirmed in time is
    /// stored all the same, and the answer says by whom it is held.
    ///
    /// # Errors
    /// As [`Broker::enqueue`]. Where the broker cannot give such a confirmation at all, [`EnqueueError::Misconfigured`],
    /// and nothing is stored.
    fn enqueue_confirmed(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        wanted: Durability,
    ) -> impl Future<Output = Result<Confirmed, EnqueueError>> + Send;
}
