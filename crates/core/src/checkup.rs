//! Looking whether what a broker stores is in order, a bounded part at a time, and putting single things right.
//!
//! A broker tells what there is, and changes what it is told to where that is still as it was; what is a finding, and
//! what repairs it, is decided in [`Census::diagnose`] and [`ServerLook::findings`].

use std::fmt;
use std::future::Future;

use bytes::Bytes;

use crate::broker::{Broker, BrokerError};
use crate::ids::{QueueName, TaskId, WorkerId};
use crate::unique::LockKey;

mod census;
mod server;

pub use census::{Census, Diagnosis, Holder, ReadyEntries, ReadyLevel, Repair};
pub use server::ServerLook;

/// The most ids, names or workers that one call of [`Checkup`] takes.
pub const CHECKED_MAX: usize = 200;
/// The most ids that one call looks for in ready lists, which it must go through for each.
pub const SOUGHT_MAX: usize = 20;
/// The longest ready lists, all of a queue together, that a call goes through.
pub const READY_SOUGHT_MAX: u64 = 10_000;

/// What an auditor asks of a broker. Each call is bounded, by [`CHECKED_MAX`] things or a page of about a thousand.
///
/// A queue is named as the broker keeps it: each partition of a queue is one here.
pub trait Checkup: Broker {
    /// A page of all that is stored, with what can be told of a thing by its name alone.
    fn stored(
        &self,
        from: StoredFrom,
    ) -> impl Future<Output = Result<StoredPage, BrokerError>> + Send;

    /// A page of the ids that stand in one part of a queue; one may come twice.
    fn shelf(
        &self,
        queue: &QueueName,
        shelf: Shelf,
        from: u64,
    ) -> impl Future<Output = Result<ShelfPage<TaskId>, BrokerError>> + Send;

    /// All that a queue holds of these tasks, in one step: of the first ones alone where there are many workers. `unlisted`
    /// are workers that it does not know and that hold something; with `seek`, for at most [`SOUGHT_MAX`] ids, its ready
    /// lists are gone through as well.
    fn census(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        unlisted: &[WorkerId],
        seek: bool,
    ) -> impl Future<Output = Result<Vec<Census>, BrokerError>> + Send;

    /// Repairs one task in one step; `false`, and nothing is changed, unless it still is as `census` says.
    fn repair(
        &self,
        queue: &QueueName,
        census: &Census,
        unlisted: &[WorkerId],
        repairs: &[Repair],
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Which keys of a queue are of a wrong type. With one of them nothing else of it can be looked at.
    fn wrong_types(
        &self,
        queue: &QueueName,
    ) -> impl Future<Output = Result<Vec<String>, BrokerError>> + Send;

    /// Compares the accounts of a queue with what is there, in one step.
    fn books(
        &self,
        queue: &QueueName,
        unlisted: &[WorkerId],
        mode: CheckMode,
    ) -> impl Future<Output = Result<Books, BrokerError>> + Send;

    /// Which of these workers hold something in the queue and are not registered there. Repaired they are, with a lease
    /// that has ended, so that recovery takes their tasks back.
    fn orphans(
        &self,
        queue: &QueueName,
        workers: &[WorkerId],
        mode: CheckMode,
    ) -> impl Future<Output = Result<Vec<WorkerId>, BrokerError>> + Send;

    /// Which of these would be kept for ever. Repaired they are kept until the end that they name, or for a day.
    fn lasting(
        &self,
        queue: &QueueName,
        of: Passing,
        ids: &[TaskId],
        mode: CheckMode,
    ) -> impl Future<Output = Result<Vec<TaskId>, BrokerError>> + Send;

    /// What is wrong with these keys of unique tasks, and with what is noted of the keys that these tasks hold. Repaired are
    /// keys that nobody holds, and what a live task holds and lacks, unless another one has it.
    fn locks(
        &self,
        queue: &QueueName,
        keys: &[LockKey],
        tasks: &[TaskId],
        mode: CheckMode,
    ) -> impl Future<Output = Result<Vec<Finding>, BrokerError>> + Send;

    /// A page of the names in one part of what is kept of schedules; one may come twice.
    fn agenda_shelf(
        &self,
        shelf: AgendaShelf,
        from: u64,
    ) -> impl Future<Output = Result<ShelfPage<Bytes>, BrokerError>> + Send;

    /// What is wrong with the schedules, or outboxes, of these names. Repaired is what stands for nothing, and what must
    /// stand in an index and does not.
    fn agenda(
        &self,
        of: Agenda,
        names: &[Bytes],
        mode: CheckMode,
    ) -> impl Future<Output = Result<Vec<Finding>, BrokerError>> + Send;

    /// What each server says of itself; nothing where there is none. One that may not be asked says so.
    fn servers(&self) -> impl Future<Output = Result<Vec<ServerLook>, BrokerError>> + Send;
}

/// Whether a call may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CheckMode {
    /// It looks.
    #[default]
    Look,
    /// It puts right what is certain.
    Repair,
}

/// What goes by itself, by its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Results of tasks.
    Results,
    /// What is remembered of idempotent sends.
    Sends,
}

/// Where a walk through all that is stored has come to. The default is its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StoredFrom {
    /// Which server, where there are several.
    pub server: usize,
    /// Where on it.
    pub cursor: u64,
}

/// A page of what is stored. A thing may come twice, and none that is there all the time is left out.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StoredPage {
    /// Where the next page begins; `None` behind the last.
    pub next: Option<StoredFrom>,
    /// Which server it is of; empty where there is none.
    pub server: String,
    /// How many things were looked at.
    pub looked_at: u64,
    /// Queues, each partition by itself.
    pub queues: Vec<QueueName>,
    /// Processing lists.
    pub lists: Vec<(QueueName, WorkerId)>,
    /// Results.
    pub results: Vec<(QueueName, TaskId)>,
    /// What is remembered of idempotent sends.
    pub sends: Vec<(QueueName, TaskId)>,
    /// Keys of unique tasks.
    pub locks: Vec<(QueueName, LockKey)>,
    /// Schedules of which a history is kept.
    pub histories: Vec<Bytes>,
    /// Queues for which something waits to be forwarded.
    pub outboxes: Vec<Bytes>,
    /// What nobody knows, by name.
    pub unknown: Vec<String>,
}

/// A part of a queue that has ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// The stored envelopes.
    Tasks,
    /// The tasks waiting at this priority.
    Ready(u8),
    /// Those waiting for their time.
    Scheduled,
    /// The dead letters.
    Dead,
    /// What this worker holds.
    Active(WorkerId),
    /// Losses and the like.
    Facts,
    /// Failure records.
    Reasons,
    /// Who waits for an outcome.
    Waiting,
    /// Marks of cancelled tasks.
    Cancels,
    /// Counts of entries that stand for nothing.
    Ghosts,
    /// Notes of the keys that tasks hold.
    Locks,
    /// Callbacks that are owed.
    Callbacks,
}

/// A part of what is kept of schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgendaShelf {
    /// Their versions.
    Versions,
    /// Their records.
    Records,
    /// When they are to be looked at.
    Wakes,
    /// Their names in order.
    Names,
    /// The queues for which something waits.
    Outboxes,
}

/// What the names in a call of [`Checkup::agenda`] are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agenda {
    /// Schedules.
    Schedules,
    /// Outboxes, by queue.
    Outboxes,
}

/// A page of a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfPage<T> {
    /// What stands there.
    pub found: Vec<T>,
    /// How many entries are none.
    pub rubbish: u64,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<u64>,
}

impl<T> Default for ShelfPage<T> {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            rubbish: 0,
            next: None,
        }
    }
}

/// The accounts of a queue. What is `None` was too much to count in one step.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Books {
    /// Stored envelopes.
    pub stored: u64,
    /// Tasks in all places together, less the entries that stand for nothing.
    pub placed: Option<u64>,
    /// What the queue's account says that the dead letters take, in bytes.
    pub dead_bytes_said: u64,
    /// What they take.
    pub dead_bytes: Option<u64>,
    /// Letters and digits of places that hold something, and that nobody looks at since the queue was not said to use them.
    pub unused: String,
    /// Workers with a lease and no identity; `None` if there are too many leases.
    pub stray_leases: Option<Vec<String>>,
    /// Reports and suspicions of workers without an identity; `None` if there are too many.
    pub stray_workers: Option<Vec<String>>,
    /// Entries of the ledger of losses beyond those that are kept.
    pub losses_beyond: u64,
    /// Callbacks that are put off further than anybody puts them off.
    pub callbacks_put_off: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Where: a queue, `schedules`, or the address of a server.
    pub place: String,
    /// What exactly.
    pub what: String,
    /// Whether it was put right.
    pub repaired: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.repaired { " (repaired)" } else { "" };
        write!(f, "{}: {}: {}{end}", self.place, self.kind, self.what)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $words:literal,)*) => {
        /// What may be wrong (docs/doctor.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $kind,)*
        }

        impl fmt::Display for FindingKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$kind => $words,)*
                })
            }
        }
    };
}

kinds! {
    /// A task is stored and in no place: nobody would ever run it.
    InNoPlace = "a task in no place",
    /// A task is in two places, or twice in one.
    InTwoPlaces = "a task in two places",
    /// An id in a place has no envelope.
    NoEnvelope = "an id without an envelope",
    /// Something is noted of a task that is not there, or not in the place the note is for.
    StrayNote = "a note that stands for nothing",
    /// Entries of a queue that are no ids.
    Rubbish = "entries that are no task ids",
    /// A worker holds tasks and is not registered: nobody would ever take them back.
    OrphanList = "tasks held by a worker that is not registered",
    /// A lease of nobody.
    StrayLease = "a lease of nobody",
    /// A note of a worker that is not registered: what it reported, or that its lease seemed to have ended.
    StrayWorker = "a note of a worker that is not registered",
    /// A key of unique tasks that no task holds, or that says nothing: it may keep others out.
    StrayLock = "a key that no task holds",
    /// A unique task lives, and its key is free, or another's, or will not be freed with it.
    LostLock = "a unique task without its key",
    /// A callback that nobody is shown, as it is put off too far.
    LateCallback = "a callback that nobody is shown",
    /// More entries than are ever kept.
    Overlong = "more entries than are ever kept",
    /// A result, a key or what is remembered of a send that would be kept for ever.
    Lasting = "something that is kept for ever",
    /// A key that the protocol does not know.
    UnknownKey = "a key that nobody knows",
    /// A key of the wrong type.
    WrongType = "a key of the wrong type",
    /// The account of the bytes of dead letters is wrong.
    DeadBytes = "a wrong account of dead letters",
    /// A place holds something, and the queue's account says that it is never used: nobody looks there.
    UnusedPlace = "a place that nobody looks at",
    /// There are more envelopes than tasks in places, or less.
    Sums = "sums that differ",
    /// Something of a schedule that is not there, or part of one that is missing.
    Schedule = "a schedule in parts",
    /// An outbox that is not known to be there, or is known and is not.
    Outbox = "an outbox and its index differ",
    /// The server may delete keys.
    Eviction = "eviction",
    /// The server keeps nothing, or cannot.
    Persistence = "persistence",
    /// Replicas are missing.
    Replication = "replication",
    /// The server is not the primary.
    Role = "role",
    /// Memory is nearly used up.
    Memory = "memory",
    /// The server is too old.
    Version = "version",
    /// The server's clock and that of this host differ.
    Clock = "clock",
}
