//! The contract between Lovage and whatever stores its tasks.
//!
//! [`Broker`] has the six verbs of the hot path. [`Membership`](crate::Membership) is how a worker becomes and stays known,
//! [`Results`] how a sender learns the outcome, [`Control`], [`Inspect`] and [`DeadLetters`](crate::DeadLetters) what people do. Every verb is atomic in
//! its queue; the laws in `crates/conformance` say what each promises, and every broker passes all of them.
//!
//! All instants and spans are the broker's own clock's: hosts' clocks may differ.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;

mod answers;

pub use answers::{Enqueued, Revived};

use crate::dead_letters::{Cut, DeadLetter};
use crate::durable::Confirmation;
use crate::envelope::{Encoded, When};
use crate::ids::{QueueName, TaskId, WorkerId};
use crate::lifecycle::State;
use crate::reports::Loss;
use crate::time::Millis;
use crate::verdict::Verdict;

/// The most tasks in one call of any verb.
pub const BATCH_MAX: usize = 1000;
/// The deliveries that may end with the loss of their worker before a task is buried.
pub const LOSSES_MAX: u32 = 3;

/// What a producer and a worker's hot path need: six verbs.
pub trait Broker: Clone + Send + Sync + 'static {
    /// Stores tasks in `queue` and makes them ready or scheduled; at most [`BATCH_MAX`].
    ///
    /// An id that the queue already holds, or that stands twice in `tasks`, is one task: answered
    /// [`Enqueued::Duplicate`], nothing is written for it. So is one with an idempotency key that was sent before. A task
    /// whose key another one holds is not stored beside it. Either all the others are stored or none is, in each partition
    /// where the queue has several. Answers come in the order of `tasks`.
    ///
    /// # Errors
    /// [`EnqueueError::Unknown`] if no answer came: the tasks may be stored. Sending the same ids again is safe unless
    /// a task may run at most once and has no idempotency key. [`EnqueueError::InPart`], of a queue with partitions alone,
    /// says of each task what became of it. Every other error says that none is stored.
    fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueError>> + Send;

    /// Moves up to `max` ready tasks to this worker: higher priorities first, oldest first within a priority.
    ///
    /// Due tasks are promoted first, a bounded number a call. Answers [`Claim::NoLease`] unless `worker` is
    /// registered here and its lease has not ended. Wakes one more waiter where work is left behind.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future may leave tasks held by `worker` that it has never seen. They return
    /// by [`Membership::holdings`](crate::Membership::holdings) and a release, or when the lease ends.
    fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> impl Future<Output = Result<Claim, BrokerError>> + Send;

    /// Applies one verdict to each task that this worker holds by the fence named; at most [`BATCH_MAX`].
    ///
    /// A task that it does not hold by that fence is left as it is and answered as stale. A task marked by
    /// [`Control::cancel`] becomes gone whatever the verdict, but [`Verdict::Done`] stays done.
    fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<Settled, BrokerError>> + Send;

    /// Waits until there may be something to claim in `queue`, at most `at_most`. May return early.
    ///
    /// # Cancel safety
    /// Cancel safe: a wake-up that nobody waits for any more is passed on to another waiter.
    fn wait(
        &self,
        queue: &QueueName,
        at_most: Duration,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Makes this worker's lease end `lease` from now, and tells which of its tasks somebody cancelled.
    ///
    /// A lapsed lease may be renewed until its tasks are recovered; then the answer is [`Renewal::Lost`] for ever.
    fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> impl Future<Output = Result<Renewal, BrokerError>> + Send;

    /// Takes back the tasks of workers whose lease has ended: to the head of ready, with one more loss each.
    ///
    /// A task with [`LOSSES_MAX`] losses is buried instead, as is an at-most-once task. A worker is taken from only
    /// when two looks, `patience` apart by the broker's clock, found the same lease ended: a broker that stalled
    /// longer than the lease does not evict a healthy fleet. Work a call is bounded; call again while
    /// [`Recovered::more`].
    fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> impl Future<Output = Result<Recovered, BrokerError>> + Send;
}

/// How a sender learns what became of a task.
pub trait Results: Broker {
    /// Waits for the outcome of `id`, pushed, at most `at_most`. All waits of one handle share one subscription.
    ///
    /// # Cancel safety
    /// Cancel safe.
    fn outcome(
        &self,
        queue: &QueueName,
        id: TaskId,
        at_most: Duration,
    ) -> impl Future<Output = Result<Awaited, BrokerError>> + Send;
}

/// What a person or a program does to single tasks.
pub trait Control: Broker {
    /// Cancels a task: gone if it is ready, scheduled or dead; marked if it is active.
    fn cancel(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> impl Future<Output = Result<Cancelled, BrokerError>> + Send;

    /// Makes a dead task ready again, with no attempts, losses and snoozes. One whose key another task holds meanwhile stays
    /// dead.
    fn revive(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> impl Future<Output = Result<Revived, BrokerError>> + Send;

    /// Lets a scheduled task, a waiting retry included, be due at another time. Any other task is left as it is.
    ///
    /// Its envelope keeps the start it was sent with. An instant that has passed is at once, one beyond [`Millis::MAX`] is that.
    fn reschedule(
        &self,
        queue: &QueueName,
        id: TaskId,
        when: When,
    ) -> impl Future<Output = Result<Rescheduled, BrokerError>> + Send;

    /// Bounds how many tasks the queue may hold, dead letters included; `None` takes the bound away. An enqueue
    /// that would exceed it is refused whole, with [`EnqueueError::QueueFull`].
    fn bound(
        &self,
        queue: &QueueName,
        tasks_max: Option<u64>,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Looking, at a bounded cost.
pub trait Inspect: Broker {
    /// Where a task is. Looks at several keys: a task on the move may be seen at either end.
    fn state(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> impl Future<Output = Result<State, BrokerError>> + Send;

    /// How many tasks are in each place.
    fn counts(&self, queue: &QueueName)
    -> impl Future<Output = Result<Counts, BrokerError>> + Send;

    /// The scheduled tasks, waiting retries included, earliest first, from number `offset` on, at most `limit`; fewer
    /// where they are large. Empty where there are no more.
    fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Scheduled>, BrokerError>> + Send;

    /// The dead letters, oldest first, from number `offset` on, at most `limit`; fewer where they are large. None where
    /// there are no more.
    fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, BrokerError>> + Send;
}

/// Which handing-out of a task a worker speaks of: it grows with every claim of the queue, so a late answer for an
/// earlier claim is told from the present one. With the claim's instant in it, it stays unique where a failover
/// takes the counter back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The number of the claim in its queue.
    pub number: u64,
    /// When the claim was made.
    pub claimed_at: Millis,
}

/// One task handed to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The task, by the queue's account; the bytes are not trusted for it.
    pub id: TaskId,
    /// The handing-out that a settlement must name.
    pub fence: Fence,
    /// The envelope as stored: decode it, and expect that to fail.
    pub bytes: Bytes,
    /// How often a worker was lost while it held this task.
    pub losses: u32,
    /// How often its body asked to run again later, without an attempt being counted.
    pub snoozes: u32,
    /// Since when, and how often, workers have put this task off because they did not know it.
    pub parked: Option<Parked>,
}

/// How long a task has waited for a worker that knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// When a worker first put it off.
    pub since: Millis,
    /// How often it was put off.
    pub times: u32,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The lease is good; perhaps nothing was ready.
    Granted(Batch),
    /// The identity is not registered, or its lease has ended: renew it, or take a new one.
    NoLease,
}

/// What a granted claim brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The tasks.
    pub deliveries: Vec<Delivery>,
    /// How many tasks this worker now holds by the queue's account, these included.
    pub held: usize,
    /// The instant of the claim.
    pub now: Millis,
    /// How long until the next scheduled task is due; `None` if none is.
    pub next_due: Option<Duration>,
}

/// A verdict on one held task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The task.
    pub id: TaskId,
    /// The handing-out it came by.
    pub fence: Fence,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// The answer to a settle call.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settled {
    /// The tasks that this worker did not hold by the fence it named.
    pub stale: Vec<TaskId>,
    /// The dead letters that retention cut, as others were buried.
    pub cut: Cut,
}

/// The answer to a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is good again.
    Held {
        /// Tasks of this worker that somebody cancelled, at most 100 a call.
        cancelled: Vec<TaskId>,
    },
    /// The identity was recovered or never registered: take a new one.
    Lost,
}

/// What one call of recovery did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Tasks made ready again.
    pub released: u64,
    /// Tasks buried: too many losses, or at most once.
    pub buried: u64,
    /// The dead letters that retention cut.
    pub cut: Cut,
    /// What this call took back, and from whom; at most 200.
    pub losses: Vec<Loss>,
    /// Whether callbacks wait for somebody to send them ([`Callbacks`](crate::Callbacks)), whoever buried the task.
    pub callbacks: bool,
    /// Whether another call has more to take back, or to cut, at once.
    pub more: bool,
}

/// What came of waiting for an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The outcome, encoded.
    Outcome(Bytes),
    /// The queue knows no such task and no outcome of it: never sent, result not kept, or kept no longer.
    Unknown,
    /// It has not ended yet.
    TimedOut,
}

/// The answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It will not start any more.
    Removed,
    /// It is running: its token is cancelled at the worker's next renewal, and it will not run again.
    Marked,
    /// The queue does not hold it.
    Unknown,
}

/// The answer to a change of a task's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescheduled {
    /// It is due then.
    Moved(Millis),
    /// The queue holds no scheduled task of this id.
    NotScheduled,
}

/// How many tasks are in each place of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a worker; ids of cancelled tasks count until they surface.
    pub ready: u64,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Held by workers.
    pub active: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A task that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The task.
    pub id: TaskId,
    /// When it becomes ready.
    pub due: Millis,
    /// The envelope as stored.
    pub bytes: Bytes,
}

/// What a broker's transport said, opaque: the library it came from is not part of the contract.
pub struct TransportError(Box<dyn Error + Send + Sync>);

impl TransportError {
    /// Wraps an error of a transport.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Why a verb of a broker failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No answer came: it may have happened. Back off and go on.
    #[error("the broker did not answer; the call may have taken effect: {0}")]
    Unknown(TransportError),
    /// The broker refused for now (loading, read-only, full, busy): nothing happened. Back off and go on.
    #[error("the broker refused for now: {0}")]
    Refused(TransportError),
    /// Somebody must act (password, permission, wrong type at a key, version): nothing happened. Say so, back off,
    /// and try again: it may be mended while the process lives.
    #[error("the broker refuses until somebody acts: {0}")]
    Misconfigured(TransportError),
}

/// Why tasks were not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The queue has reached its bound: none is stored. Of a queue with partitions the numbers are those of the full one.
    #[error("queue {queue} is full: {len} tasks of {bound}; try again when workers have caught up")]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// How many tasks it holds.
        len: u64,
        /// How many it may hold.
        bound: u64,
    },
    /// More tasks than [`BATCH_MAX`] in one call: none is stored.
    #[error("{count} tasks in one call, the limit is {BATCH_MAX}")]
    BatchTooLarge {
        /// How many there were.
        count: usize,
    },
    /// The broker refused, for example since its memory is full: none is stored.
    #[error("the broker refused, nothing is stored: {0}")]
    Refused(TransportError),
    /// Somebody must act (password, permission, wrong type at a key): none is stored.
    #[error("the broker refuses until somebody acts, nothing is stored: {0}")]
    Misconfigured(TransportError),
    /// No answer came: the tasks may or may not be stored. Sending the same ids again is safe unless a task may run at
    /// most once: an id is free once its task is gone, and one that has ended meanwhile runs again.
    #[error("the broker did not answer; the tasks may have been accepted: {0}")]
    Unknown(TransportError),
    /// Some partitions of the queue took their tasks, others did not.
    #[error("only some of the tasks were accepted; of the others: {error}")]
    InPart {
        /// Of each task in its order what became of it; `None` is as `error` says.
        answers: Vec<Option<Enqueued>>,
        /// Who has confirmed those that were accepted, where that was asked for.
        by: Confirmation,
        /// What holds of every other one: none of these is stored, unless it says [`Self::Unknown`].
        error: Box<Self>,
    },
}

impl From<BrokerError> for EnqueueError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unknown(source) => Self::Unknown(source),
            BrokerError::Refused(source) => Self::Refused(source),
            BrokerError::Misconfigured(source) => Self::Misconfigured(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_errors_says_each_text_once() {
        let of = |error: anyhow::Error| format!("{error:#}");
        let inner = || TransportError::new("connection reset");
        for chain in [
            of(BrokerError::Unknown(inner()).into()),
            of(BrokerError::Refused(inner()).into()),
            of(BrokerError::Misconfigured(inner()).into()),
            of(EnqueueError::Unknown(inner()).into()),
        ] {
            assert_eq!(chain.matches("connection reset").count(), 1, "{chain}");
        }
    }
}
