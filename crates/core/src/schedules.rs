//! The contract between beat and whatever stores its schedules.
//!
//! What a schedule says, and when it fires next, is beat's affair: a broker keeps records that it does not read, each
//! with a version and the instant at which somebody must look at it. One beat at a time leads, by a lease. All that
//! the firing of a schedule changes is changed in one atomic step beside the schedules: its record, when to look at it
//! again, its history, and the tasks it sends, which wait in an outbox for their queue. From there they are forwarded
//! by sequence number, so that each reaches its queue once whoever forwards it, how often and when.
//!
//! All instants are the broker's own clock's.

use std::future::Future;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::{Broker, BrokerError, EnqueueError};
use crate::envelope::Encoded;
use crate::ids::{BeatId, QueueName, ScheduleName, TaskId};
use crate::time::Millis;

/// The most tasks that wait in the outbox of one queue; then the schedules that send there wait.
pub const OUTBOX_MAX: usize = 10_000;
/// The firings of one schedule that are remembered.
pub const FIRINGS_MAX: usize = 100;

/// What beat, and whoever looks after schedules, needs of a broker.
///
/// A call has at most [`BATCH_MAX`](crate::BATCH_MAX) of anything.
pub trait Schedules: Broker {
    /// Takes the lead where nobody holds it, or keeps it until `lease` from now; and reads what must be looked at, at
    /// most `max` schedules, the earliest first; fewer where they are large.
    ///
    /// A beat whose lease has ended may keep the lead if nobody took it meanwhile, in the same epoch. One that has
    /// resigned takes it in a new one. Where the broker's clock has gone back behind its last renewal, a lease has ended.
    fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> impl Future<Output = Result<Lead, BrokerError>> + Send;

    /// Gives the lead up, if `beat` has it, and wakes one that stands by.
    fn resign(&self, beat: BeatId) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Changes schedules, each by itself and atomically, in their order. Wakes the leader where there is something
    /// earlier to look at, or something to forward; for what a leader fires itself it need not be woken.
    ///
    /// `epoch` is named by a leader: where another has begun since, nothing is changed and all answers are
    /// [`Amended::Deposed`]. A person's change names none.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`] if no answer came: any part may have been changed. Made again, a change that was made
    /// answers [`Amended::Conflict`], unless it removes what was not there. [`BrokerError::Refused`] also for more than
    /// [`BATCH_MAX`](crate::BATCH_MAX) amendments, or tasks in all of them together.
    fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> impl Future<Output = Result<Vec<Amended>, BrokerError>> + Send;

    /// One schedule.
    fn schedule(
        &self,
        name: &ScheduleName,
    ) -> impl Future<Output = Result<Looked<Option<StoredSchedule>>, BrokerError>> + Send;

    /// The schedules in the order of their names, from the first behind `after` on, at most `limit`; fewer where they
    /// are large. Empty where there are no more.
    fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> impl Future<Output = Result<Looked<Vec<StoredSchedule>>, BrokerError>> + Send;

    /// The last firings of a schedule, newest first, at most `limit` of the [`FIRINGS_MAX`] that are kept: what
    /// [`Amendment::firings`] said of them.
    fn firings(
        &self,
        name: &ScheduleName,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Bytes>, BrokerError>> + Send;

    /// Who leads; `None` if nobody does.
    fn leader(&self) -> impl Future<Output = Result<Option<Leader>, BrokerError>> + Send;

    /// The tasks that wait to be forwarded to `queue`, in their order, from the first on, at most `max`; fewer where
    /// they are large.
    fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> impl Future<Output = Result<Vec<Outgoing>, BrokerError>> + Send;

    /// Stores tasks of the outbox in `queue`, those whose number the queue has not seen: it keeps the highest one.
    /// Either all of those are stored or none is. They must be what [`outbox`](Self::outbox) answered, from its first on.
    ///
    /// # Errors
    /// As those of [`Broker::enqueue`]. Doing it again is safe after each.
    fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> impl Future<Output = Result<Forwarded, EnqueueError>> + Send;

    /// Takes what was forwarded to `queue`, up to number `up_to`, out of the outbox. Answers whether more waits there.
    fn forwarded(
        &self,
        queue: &QueueName,
        up_to: u64,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Waits until there may be something for a beat of this role to do, at most `at_most`. May return early.
    ///
    /// # Cancel safety
    /// Cancel safe: a wake-up that nobody waits for any more is passed on to another waiter of the role.
    fn await_turn(
        &self,
        role: BeatRole,
        at_most: Duration,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// What a beat waits as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BeatRole {
    /// For a change of schedules, or something to forward.
    Leader,
    /// For the lead.
    Standby,
}

/// The answer to a beat that would lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// It leads.
    Held(Tick),
    /// Another one does.
    Standby(Leader),
}

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The beat.
    pub beat: BeatId,
    /// Its epoch.
    pub epoch: u64,
    /// How long its lease still lasts; zero if it has ended and nobody took the lead yet.
    pub ends_in: Duration,
}

/// What a leader reads in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Grows with each change of leader.
    pub epoch: u64,
    /// The instant of the look.
    pub now: Millis,
    /// The schedules whose [`wake`](StoredSchedule::wake) has come, earliest first.
    pub due: Vec<StoredSchedule>,
    /// How long until the next schedule beyond these must be looked at: zero if it must be at once, `None` if there is none.
    pub next_wake: Option<Duration>,
    /// Queues for which something waits in the outbox.
    pub outboxes: Vec<QueueName>,
}

/// A schedule as the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSchedule {
    /// Its name.
    pub name: ScheduleName,
    /// Another one after each change; none of any schedule comes twice.
    pub version: u64,
    /// When a leader must look at it; `None` is never.
    pub wake: Option<Millis>,
    /// What beat says of it.
    pub record: Bytes,
}

/// Something read, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked<T> {
    /// The instant of the look.
    pub now: Millis,
    /// What was there.
    pub found: T,
}

/// One change of one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The schedule.
    pub name: ScheduleName,
    /// The version that was read; `None` if there was none: the change is made only if that is still so.
    pub expected: Option<u64>,
    /// What becomes of it.
    pub change: Change,
    /// Tasks for the outbox.
    pub sends: Vec<(QueueName, Encoded)>,
    /// What to remember of its firings, oldest first.
    pub firings: Vec<Bytes>,
}

/// What becomes of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is stored so.
    Store {
        /// What beat says of it.
        record: Bytes,
        /// When a leader must look at it; `None` is never.
        wake: Option<Millis>,
    },
    /// It is removed, and its history with it. What it has sent goes on.
    Remove,
}

/// The answer to one amendment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amended {
    /// Made; the schedule has this version, a removed one none any more.
    Done(u64),
    /// The schedule is not what was read. Nothing was changed.
    Conflict,
    /// The outbox of this queue is full. Nothing was changed.
    OutboxFull(QueueName),
    /// Another leader's epoch has begun. Nothing was changed.
    Deposed,
}

/// A task on its way to its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Grows from one task to the next, in all outboxes together. With the instant in it, it grows also where a
    /// failover takes the counter back.
    pub number: u64,
    /// The task.
    pub id: TaskId,
    /// Its envelope.
    pub bytes: Bytes,
}

/// The answer to a forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Forwarded {
    /// How many were stored.
    pub stored: usize,
    /// How many the queue had seen already, or held a task of this id of.
    pub known: usize,
}
