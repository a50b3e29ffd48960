//! The data of one queue, and the one function that moves a task from place to place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::envelope::edit;
use lovage_core::{
    Failure, Fence, Lock, Loss, Millis, Outcome, Parked, Partitions, Priority, Retention, TaskId,
    WorkerId, WorkerReport, hours,
};
use tokio::sync::{Notify, oneshot};

use crate::locks::Locks;

/// Everything that one queue holds. Transitions are its methods, a file each.
#[derive(Default)]
pub(crate) struct Queue {
    /// Every live task, dead letters included. `move_to` keeps the indexes below in step with it.
    pub(crate) tasks: HashMap<TaskId, Task>,
    /// The waiting tasks, in the order in which they are claimed.
    pub(crate) ready: BTreeMap<Position, TaskId>,
    /// The tasks that wait for their time, the next one first.
    pub(crate) scheduled: BTreeSet<(Millis, TaskId)>,
    /// The dead letters, oldest first.
    pub(crate) dead: BTreeSet<(Millis, TaskId)>,
    /// The identities that were registered and neither retired nor recovered.
    pub(crate) members: BTreeMap<WorkerId, Member>,
    /// The number of the last fence.
    pub(crate) claims: u64,
    /// How many live tasks are allowed.
    pub(crate) bound: Option<u64>,
    /// How many dead letters are kept.
    pub(crate) retention: Retention,
    /// What was lost with its worker, newest first.
    pub(crate) losses: VecDeque<Loss>,
    /// How many of them retention has cut so far.
    pub(crate) cut: u64,
    /// The dead letters whose callback is owed, and from when on somebody may be shown them.
    pub(crate) owed: BTreeMap<TaskId, Millis>,
    /// The highest number of a task that was forwarded here.
    pub(crate) forwarded: u64,
    /// How many partitions it was said to have: here they are all in one place.
    pub(crate) partitions: Partitions,
    /// The keys that are held, and the sends that are remembered.
    pub(crate) locks: Locks,
    /// What wakes idle workers: one a ring, and a ring is kept until somebody waits.
    pub(crate) bell: Arc<Notify>,
    outcomes: HashMap<TaskId, (Bytes, Millis)>,
    outcome_ends: BTreeSet<(Millis, TaskId)>,
    waiting: HashMap<TaskId, Vec<oneshot::Sender<Bytes>>>,
    first: i64,
    last: i64,
}

/// A live task.
pub(crate) struct Task {
    /// The envelope as stored.
    pub(crate) bytes: Bytes,
    /// Where it is.
    pub(crate) spot: Spot,
    /// How often its worker was lost.
    pub(crate) losses: u32,
    /// How often its body put it off.
    pub(crate) snoozes: u32,
    /// Since when and how often it was put off.
    pub(crate) parked: Option<Parked>,
    /// Whether somebody cancelled it while it was active.
    pub(crate) cancelled: bool,
    /// The key that it holds, held or wants to hold again.
    pub(crate) lock: Option<Lock>,
    /// Whether a worker has taken it since it was sent.
    pub(crate) taken: bool,
}

/// Where exactly a task is.
#[derive(Clone, Debug)]
pub(crate) enum Spot {
    /// Waits for a worker.
    Ready(Position),
    /// Waits for its time.
    Scheduled(Millis),
    /// Held by a worker.
    Active(WorkerId, Fence),
    /// Kept with the reason, since the instant.
    Dead(Millis, Failure),
}

/// The place of a ready task in the order of claims: the level, then the place within it.
pub(crate) type Position = (Reverse<Priority>, i64);

/// A registered identity.
#[derive(Default)]
pub(crate) struct Member {
    /// When its lease ends.
    pub(crate) lease_end: Millis,
    /// The span that its lease had at its last renewal.
    pub(crate) lease: Duration,
    /// When recovery last looked at it; the epoch if it never has.
    pub(crate) looked_at: Millis,
    /// What it last said of itself, and when.
    pub(crate) report: Option<(Millis, WorkerReport)>,
    /// What recovery thinks of it.
    pub(crate) suspicion: Suspicion,
    /// What it holds.
    pub(crate) active: BTreeMap<TaskId, Fence>,
}

/// What recovery remembers of an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Nothing is held against it.
    #[default]
    None,
    /// A first look found this lease ended.
    Lapsed {
        /// The end of the lease that was found ended.
        lease_end: Millis,
        /// When that look was.
        looked_at: Millis,
    },
    /// Its tasks are being taken back: it is dead for good.
    Taken,
}

impl Member {
    /// Makes its lease end `lease` from now.
    pub(crate) fn renew(&mut self, lease: Duration, now: Millis) {
        self.lease = lease;
        self.lease_end = now.plus(lease);
    }
}

impl Queue {
    /// Stores a new task at `spot`.
    pub(crate) fn admit(&mut self, id: TaskId, bytes: Bytes, spot: Spot) {
        self.list(id, &spot);
        let task = Task {
            spot,
            losses: 0,
            snoozes: 0,
            parked: None,
            cancelled: false,
            lock: edit::unique(&bytes),
            taken: false,
            bytes,
        };
        self.tasks.insert(id, task);
    }

    /// Moves a live task to another spot.
    pub(crate) fn move_to(&mut self, id: TaskId, spot: Spot) {
        self.list(id, &spot);
        let task = self.tasks.get_mut(&id).expect("only live tasks move");
        let left = std::mem::replace(&mut task.spot, spot);
        self.unlist(id, &left);
    }

    /// Makes a live task gone, tells who waits for it, and keeps the outcome for the span given.
    pub(crate) fn finish(
        &mut self,
        id: TaskId,
        outcome: &Outcome,
        keep: Option<Duration>,
        now: Millis,
    ) {
        let task = self.tasks.remove(&id).expect("only live tasks end");
        self.owed.remove(&id);
        self.unlist(id, &task.spot);
        if let Some(lock) = &task.lock {
            self.let_go(id, lock);
        }
        let bytes = outcome.encode();
        if let Some(span) = keep {
            self.keep_outcome(id, bytes.clone(), now.plus(span), now);
        }
        self.tell(id, &bytes);
    }

    /// Makes a task that is no longer wanted gone; its sender can learn so for an hour.
    pub(crate) fn finish_cancelled(&mut self, id: TaskId, now: Millis) {
        self.finish(id, &Outcome::Cancelled, Some(hours(1)), now);
    }

    /// Makes an active task a dead letter, and tells who waits for it.
    pub(crate) fn bury(&mut self, id: TaskId, failure: Failure, now: Millis) {
        self.tell(id, &Outcome::Failed(failure.clone()).encode());
        if let Some(lock) = self.tasks[&id].lock {
            self.let_go(id, &lock);
        }
        if edit::calls_back(&self.tasks[&id].bytes) {
            self.owed.insert(id, now);
        }
        self.move_to(id, Spot::Dead(now, failure));
    }

    /// Forgets a dead letter: its sender can learn nothing of it any more.
    pub(crate) fn drop_dead(&mut self, id: TaskId) {
        let task = self
            .tasks
            .remove(&id)
            .expect("only dead letters are dropped");
        self.unlist(id, &task.spot);
    }

    /// The place behind all others of every level.
    pub(crate) fn tail(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// `count` places before all others of every level, the first of them first.
    pub(crate) fn heads(&mut self, count: usize) -> Range<i64> {
        let end = self.first;
        self.first -= i64::try_from(count).expect("a batch is small");
        self.first..end
    }

    /// Makes a live task ready at a place within its level, and wakes a waiter.
    pub(crate) fn make_ready(&mut self, id: TaskId, place: i64) {
        let level = Reverse(edit::priority(&self.tasks[&id].bytes));
        self.move_to(id, Spot::Ready((level, place)));
        self.bell.notify_one();
    }

    /// Lets a live task wait until `due`. Wakes a waiter that reckons with a later instant.
    pub(crate) fn schedule(&mut self, id: TaskId, due: Millis) {
        self.ring_if_nearer(due);
        self.move_to(id, Spot::Scheduled(due));
    }

    /// Wakes a waiter if nothing that is scheduled is due as early as `due`.
    pub(crate) fn ring_if_nearer(&self, due: Millis) {
        if self
            .scheduled
            .first()
            .is_none_or(|(nearest, _)| due < *nearest)
        {
            self.bell.notify_one();
        }
    }

    /// How long until the next scheduled task is due.
    pub(crate) fn next_due(&self, now: Millis) -> Option<Duration> {
        self.scheduled.first().map(|(due, _)| due.since(now))
    }

    /// How many tasks a worker holds.
    pub(crate) fn held(&self, worker: WorkerId) -> usize {
        self.members
            .get(&worker)
            .map_or(0, |member| member.active.len())
    }

    /// The kept outcome of a task that is gone.
    pub(crate) fn kept_outcome(&self, id: TaskId, now: Millis) -> Option<Bytes> {
        let (bytes, until) = self.outcomes.get(&id)?;
        (now < *until).then(|| bytes.clone())
    }

    /// A place where the outcome of a live task arrives once it ends.
    pub(crate) fn await_outcome(&mut self, id: TaskId) -> oneshot::Receiver<Bytes> {
        let (sender, receiver) = oneshot::channel();
        let senders = self.waiting.entry(id).or_default();
        // Waits that timed out leave their sender behind; a task that is asked for again and again would gather them.
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        receiver
    }

    fn tell(&mut self, id: TaskId, outcome: &Bytes) {
        for sender in self.waiting.remove(&id).unwrap_or_default() {
            // Whoever waited may have given up.
            let _ = sender.send(outcome.clone());
        }
    }

    fn keep_outcome(&mut self, id: TaskId, bytes: Bytes, until: Millis, now: Millis) {
        // Each new outcome takes away those that have expired, so that they need no timer.
        while let Some(&(end, expired)) = self.outcome_ends.first()
            && end <= now
        {
            self.outcome_ends.pop_first();
            self.outcomes.remove(&expired);
        }
        if let Some((_, old_end)) = self.outcomes.insert(id, (bytes, until)) {
            self.outcome_ends.remove(&(old_end, id));
        }
        self.outcome_ends.insert((until, id));
    }

    fn list(&mut self, id: TaskId, spot: &Spot) {
        let is_new = match spot {
            Spot::Ready(position) => self.ready.insert(*position, id).is_none(),
            Spot::Scheduled(due) => self.scheduled.insert((*due, id)),
            Spot::Active(worker, fence) => self
                .members
                .get_mut(worker)
                .is_some_and(|member| member.active.insert(id, *fence).is_none()),
            Spot::Dead(died_at, _) => self.dead.insert((*died_at, id)),
        };
        debug_assert!(is_new, "{id} cannot come to {spot:?}");
    }

    fn unlist(&mut self, id: TaskId, spot: &Spot) {
        let was_there = match spot {
            Spot::Ready(position) => self.ready.remove(position).is_some(),
            Spot::Scheduled(due) => self.scheduled.remove(&(*due, id)),
            Spot::Active(worker, _) => self
                .members
                .get_mut(worker)
                .is_some_and(|member| member.active.remove(&id).is_some()),
            Spot::Dead(died_at, _) => self.dead.remove(&(*died_at, id)),
        };
        debug_assert!(was_there, "{id} is not where it should be: {spot:?}");
    }
}
