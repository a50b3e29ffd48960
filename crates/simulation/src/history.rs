//! What happened, as it is seen from outside: at the broker, in the bodies, and to the processes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{Enqueued, Fence, Millis, Place, QueueName, Revived, TaskId, WorkerId};
use tokio::time::Instant;

use crate::client::is_sent;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, since the start of the run.
    pub at: Duration,
    /// When, by the broker's clock.
    pub now: Millis,
    /// What.
    pub what: What,
}

/// An identity of a worker, by the order of registrations: the same in each run of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub usize);

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A sender was told that the broker has the task, under this id.
    Accepted(TaskId),
    /// The broker stored a task.
    Stored(QueueName, TaskId),
    /// The broker answered a send otherwise.
    Answered(TaskId, Enqueued),
    /// The broker gave an identity a lease until the instant.
    Leased(Identity, Millis),
    /// The broker handed a task out; `losses` and `snoozes` as told to the worker.
    Claimed {
        /// To whom.
        by: Identity,
        /// The task.
        id: TaskId,
        /// The handing-out.
        fence: Fence,
        /// How often the task was lost so far.
        losses: u32,
        /// How often its body put it off so far.
        snoozes: u32,
    },
    /// The broker applied a verdict, or refused it as stale.
    Settled {
        /// Whose.
        by: Identity,
        /// The task.
        id: TaskId,
        /// The handing-out.
        fence: Fence,
        /// What of.
        verdict: Said,
        /// Whether it was refused.
        stale: bool,
    },
    /// Recovery took a task from whoever held it; it is there now.
    Taken(TaskId, Place),
    /// Somebody cancelled a task: it is gone, or marked.
    Cancelled(TaskId, Place),
    /// Somebody revived a task, or would have.
    Revived(TaskId, Revived),
    /// The broker told somebody that the callback of a task that died then is owed, and is `call`.
    Owed {
        /// The task.
        id: TaskId,
        /// When it died.
        died_at: Millis,
        /// What is to be sent.
        call: TaskId,
    },
    /// The body of a callback was told of a task.
    Heard {
        /// The callback.
        call: TaskId,
        /// The task.
        of: TaskId,
        /// When it died.
        died_at: Millis,
    },
    /// A body began.
    Began {
        /// The process.
        process: String,
        /// The task.
        id: TaskId,
        /// The number of the fence.
        fence: u64,
        /// By the worker's account, 1 for the first.
        attempt: u32,
        /// By the worker's account.
        snoozes: u32,
        /// Whose message it runs by.
        sent: TaskId,
    },
    /// A body ended.
    Ended {
        /// The task.
        id: TaskId,
        /// The number of the fence.
        fence: u64,
        /// How.
        how: Run,
    },
    /// A sender was told how its task ended.
    Told(TaskId, &'static str),
    /// The broker took an occurrence of a schedule for fired.
    Fired(TaskId),
    /// Something was done to a process, or to all.
    Fault(String),
}

/// What a verdict said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It ran.
    Done,
    /// It had expired.
    Expired,
    /// It shall run again after so long.
    RetryIn(Duration),
    /// It was given back.
    Released,
    /// It is a dead letter.
    Buried,
    /// Its body put it off.
    Snoozed(Duration),
    /// It was put off by a worker that does not know it.
    Parked(Duration),
}

/// How a run of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It answered `Ok`.
    Succeeded,
    /// It answered `Err`.
    Failed,
    /// It answered `Err`, and when to run again.
    FailedFor(Duration),
    /// It answered `Err`, and that no attempt would help.
    FailedForGood,
    /// It asked to run again after so long.
    Snoozed(Duration),
    /// It was dropped or panicked: aborted, or its process was killed.
    Dropped,
}

/// Gathers events.
#[derive(Debug)]
pub struct History {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Event>,
    identities: HashMap<WorkerId, Identity>,
    /// What is held, so that recovery can be asked what it took.
    active: BTreeMap<TaskId, QueueName>,
    now: Millis,
}

impl Default for History {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::default(),
        }
    }
}

impl History {
    /// Notes that something happened now.
    pub fn note(&self, what: What) {
        let at = self.start.elapsed();
        let mut inner = self.inner();
        match &what {
            What::Settled {
                id, stale: false, ..
            }
            | What::Taken(id, _) => {
                inner.active.remove(id);
            }
            _ => {}
        }
        let now = inner.now;
        inner.events.push(Event { at, now, what });
    }

    /// Notes that something was done to a process, or to all.
    pub fn fault(&self, what: impl fmt::Display) {
        self.note(What::Fault(what.to_string()));
    }

    /// Notes what the broker's clock shows.
    pub fn clock(&self, now: Millis) {
        self.inner().now = now;
    }

    /// What the broker's clock showed last.
    pub fn now(&self) -> Millis {
        self.inner().now
    }

    /// Notes that a task is held.
    pub fn held(&self, queue: &QueueName, id: TaskId) {
        self.inner().active.insert(id, queue.clone());
    }

    /// The tasks of a queue that are held.
    pub fn active(&self, queue: &QueueName) -> Vec<TaskId> {
        let inner = self.inner();
        let of_queue = inner.active.iter().filter(|(_, at)| *at == queue);
        of_queue.map(|(id, _)| *id).collect()
    }

    /// The identity of a worker: a number, as the ids themselves differ from run to run.
    pub fn identity(&self, worker: WorkerId) -> Identity {
        let mut inner = self.inner();
        let next = Identity(inner.identities.len());
        *inner.identities.entry(worker).or_insert(next)
    }

    /// All identities so far, in their order.
    pub fn workers(&self) -> Vec<WorkerId> {
        let inner = self.inner();
        let mut all: Vec<_> = inner.identities.iter().map(|(w, i)| (*i, *w)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, worker)| worker).collect()
    }

    /// All that happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.inner().events.clone()
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl What {
    /// The task that it is about.
    pub fn id(&self) -> Option<TaskId> {
        match self {
            Self::Accepted(id)
            | Self::Stored(_, id)
            | Self::Answered(id, _)
            | Self::Revived(id, _)
            | Self::Owed { id, .. }
            | Self::Heard { of: id, .. }
            | Self::Claimed { id, .. }
            | Self::Settled { id, .. }
            | Self::Taken(id, _)
            | Self::Cancelled(id, _)
            | Self::Began { id, .. }
            | Self::Ended { id, .. }
            | Self::Told(id, _)
            | Self::Fired(id) => Some(*id),
            Self::Leased(..) | Self::Fault(_) => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// A task, as people read it: the number of one that a sender made, the start of any other id.
pub fn short(id: TaskId) -> String {
    if is_sent(id) {
        let [.., a, b, c, d, _, _, _, _] = *id.as_bytes();
        return format!("task {:x}", u32::from_be_bytes([a, b, c, d]));
    }
    format!("task {}", &id.to_string()[..8])
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at.as_secs_f64() * 1000.0;
        write!(f, "{ms:11.3} ms  {}  ", self.now)?;
        match &self.what {
            What::Accepted(id) => write!(f, "{} accepted, the sender knows", short(*id)),
            What::Stored(queue, id) => write!(f, "{} stored in {queue}", short(*id)),
            What::Answered(id, answer) => write!(f, "{} sent, and answered {answer:?}", short(*id)),
            What::Revived(id, revived) => write!(f, "{} to be revived: {revived:?}", short(*id)),
            What::Owed { id, died_at, call } => {
                let call = short(*call);
                write!(
                    f,
                    "{} died at {died_at} and owes a callback, {call}",
                    short(*id)
                )
            }
            What::Heard { call, of, died_at } => {
                write!(
                    f,
                    "{} hears that {} died at {died_at}",
                    short(*call),
                    short(*of)
                )
            }
            What::Leased(by, until) => write!(f, "{by} has a lease until {until}"),
            What::Claimed {
                by,
                id,
                fence,
                losses,
                snoozes,
            } => {
                write!(
                    f,
                    "{} claimed by {by}, fence {}, losses {losses}, snoozes {snoozes}",
                    short(*id),
                    fence.number
                )
            }
            What::Settled {
                by,
                id,
                fence,
                verdict,
                stale,
            } => {
                let stale = if *stale { ", which is stale" } else { "" };
                write!(
                    f,
                    "{} settled by {by}, fence {}: {verdict:?}{stale}",
                    short(*id),
                    fence.number
                )
            }
            What::Taken(id, place) => write!(f, "{} taken back, now {place:?}", short(*id)),
            What::Cancelled(id, place) => write!(f, "{} cancelled, now {place:?}", short(*id)),
            What::Began {
                process,
                id,
                fence,
                attempt,
                snoozes,
                sent,
            } => {
                write!(
                    f,
                    "{} begins in {process}, fence {fence}, attempt {attempt}, snoozes {snoozes}, as {} was sent",
                    short(*id),
                    short(*sent)
                )
            }
            What::Ended { id, fence, how } => {
                write!(f, "{} ends, fence {fence}: {how:?}", short(*id))
            }
            What::Told(id, how) => write!(f, "{} ended, the sender knows: {how}", short(*id)),
            What::Fired(id) => write!(f, "{} fired", short(*id)),
            What::Fault(what) => f.write_str(what),
        }
    }
}
