//! The data of the schedules and of who leads, and the functions that keep its indexes in step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use bytes::Bytes;
use lovage_core::{
    BeatId, BeatRole, FIRINGS_MAX, Millis, OUTBOX_MAX, Outgoing, QueueName, ScheduleName,
    StoredSchedule, TaskId,
};
use tokio::sync::Notify;

/// Everything that beats share. Transitions are its methods, in the same files as those of a queue.
#[derive(Default)]
pub(crate) struct Beat {
    /// Who leads, until it resigns or another takes the lead.
    pub(crate) leader: Option<Lease>,
    /// The last epoch that began.
    pub(crate) epoch: u64,
    /// What waits to be forwarded, in the order of its numbers. A queue for which nothing waits has no entry.
    pub(crate) outboxes: BTreeMap<QueueName, VecDeque<Outgoing>>,
    schedules: BTreeMap<ScheduleName, Kept>,
    /// The schedules by the instant at which somebody must look at them.
    wakes: BTreeMap<Millis, BTreeSet<ScheduleName>>,
    last_version: u64,
    last_number: u64,
    /// A ring is kept until somebody waits.
    leader_bell: Arc<Notify>,
    standby_bell: Arc<Notify>,
}

/// The lease of who leads.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    /// The beat.
    pub(crate) beat: BeatId,
    /// When it was last renewed.
    pub(crate) renewed: Millis,
    /// When it ends.
    pub(crate) end: Millis,
}

/// A schedule as it is kept.
#[derive(Default)]
struct Kept {
    version: u64,
    wake: Option<Millis>,
    record: Bytes,
    /// Oldest first.
    firings: VecDeque<Bytes>,
}

impl Beat {
    /// What wakes the beats of a role.
    pub(crate) fn bell(&self, role: BeatRole) -> &Arc<Notify> {
        match role {
            BeatRole::Leader => &self.leader_bell,
            BeatRole::Standby => &self.standby_bell,
        }
    }

    /// The version of a schedule, if there is one of this name.
    pub(crate) fn version(&self, name: &ScheduleName) -> Option<u64> {
        self.schedules.get(name).map(|kept| kept.version)
    }

    /// One schedule.
    pub(crate) fn schedule(&self, name: &ScheduleName) -> Option<StoredSchedule> {
        self.schedules.get(name).map(|kept| kept.seen_as(name))
    }

    /// The schedules behind `after`, by their names.
    pub(crate) fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Vec<StoredSchedule> {
        let start = after.map_or(Unbounded, Excluded);
        self.schedules
            .range::<ScheduleName, _>((start, Unbounded))
            .take(limit)
            .map(|(name, kept)| kept.seen_as(name))
            .collect()
    }

    /// The last firings of a schedule, newest first.
    pub(crate) fn firings(&self, name: &ScheduleName, limit: usize) -> Vec<Bytes> {
        let kept = self.schedules.get(name).into_iter();
        kept.flat_map(|kept| kept.firings.iter().rev())
            .take(limit)
            .cloned()
            .collect()
    }

    /// The instants at which somebody must look at a schedule, with its name, in their order.
    pub(crate) fn wakes(&self) -> impl Iterator<Item = (Millis, &ScheduleName)> {
        let wakes = self.wakes.iter();
        wakes.flat_map(|(wake, names)| names.iter().map(|name| (*wake, name)))
    }

    /// Stores a schedule under `version`, and wakes a leader that would look at it too late.
    pub(crate) fn store(
        &mut self,
        name: &ScheduleName,
        version: u64,
        record: Bytes,
        wake: Option<Millis>,
        now: Millis,
    ) {
        let mut kept = self.take(name).unwrap_or_default();
        if let Some(wake) = wake {
            self.ring_if_earlier(wake, now);
            self.wakes.entry(wake).or_default().insert(name.clone());
        }
        kept.version = version;
        kept.wake = wake;
        kept.record = record;
        self.schedules.insert(name.clone(), kept);
    }

    /// Forgets a schedule and its history.
    pub(crate) fn remove(&mut self, name: &ScheduleName) {
        self.take(name);
    }

    /// Remembers firings of a schedule, the last of them; nothing if there is none of this name.
    pub(crate) fn remember(&mut self, name: &ScheduleName, firings: Vec<Bytes>) {
        if let Some(kept) = self.schedules.get_mut(name) {
            kept.firings.extend(firings);
            let too_many = kept.firings.len().saturating_sub(FIRINGS_MAX);
            kept.firings.drain(..too_many);
        }
    }

    /// The number of the next version: above all that were, also of schedules that are gone.
    pub(crate) fn next_version(&mut self, now: Millis) -> u64 {
        self.last_version = next(self.last_version, now);
        self.last_version
    }

    /// How many more tasks the outbox of a queue takes.
    pub(crate) fn room(&self, queue: &QueueName) -> usize {
        let waiting = self.outboxes.get(queue).map_or(0, VecDeque::len);
        OUTBOX_MAX.saturating_sub(waiting)
    }

    /// Puts a task into the outbox of a queue, and wakes the leader.
    pub(crate) fn put_out(&mut self, queue: &QueueName, id: TaskId, bytes: Bytes, now: Millis) {
        self.last_number = next(self.last_number, now);
        let number = self.last_number;
        let outbox = match self.outboxes.get_mut(queue) {
            Some(outbox) => outbox,
            None => self.outboxes.entry(queue.clone()).or_default(),
        };
        outbox.push_back(Outgoing { number, id, bytes });
        self.leader_bell.notify_one();
    }

    /// Rings where nothing that is still to come must be looked at as early as `wake`.
    ///
    /// A leader sleeps until the first instant behind its last look, so what is due already does not count.
    fn ring_if_earlier(&self, wake: Millis, now: Millis) {
        let next = self.wakes.range((Excluded(now), Unbounded)).next();
        if next.is_none_or(|(next, _)| wake < *next) {
            self.leader_bell.notify_one();
        }
    }

    fn take(&mut self, name: &ScheduleName) -> Option<Kept> {
        let kept = self.schedules.remove(name)?;
        if let Some(wake) = kept.wake {
            let names = self.wakes.get_mut(&wake).expect("each wake is listed");
            names.remove(name);
            if names.is_empty() {
                self.wakes.remove(&wake);
            }
        }
        Some(kept)
    }
}

impl Kept {
    fn seen_as(&self, name: &ScheduleName) -> StoredSchedule {
        StoredSchedule {
            name: name.clone(),
            version: self.version,
            wake: self.wake,
            record: self.record.clone(),
        }
    }
}

/// A number above `last` that grows also where `last` is forgotten.
pub(crate) fn next(last: u64, now: Millis) -> u64 {
    (last + 1).max(1000 * now.get())
}
