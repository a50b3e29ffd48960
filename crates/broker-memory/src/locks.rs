//! The keys that unique tasks hold, and what is remembered of idempotent sends.

use std::collections::{BTreeSet, HashMap};

use lovage_core::{Lock, LockKey, Millis, TaskId, Until};

use crate::queue::{Queue, Spot};

/// What is held, and what is remembered.
#[derive(Default)]
pub(crate) struct Locks {
    held: HashMap<LockKey, Held>,
    held_ends: BTreeSet<(Millis, LockKey)>,
    sent: HashMap<TaskId, (TaskId, Millis)>,
    sent_ends: BTreeSet<(Millis, TaskId)>,
    remember_until: Millis,
}

/// Who holds a key.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    /// The task.
    pub(crate) id: TaskId,
    /// When it ends by itself.
    pub(crate) end: Option<Millis>,
    /// The instant beyond which a debounced start is not put off.
    pub(crate) limit: Option<Millis>,
}

impl Locks {
    /// What an idempotent send under this id became, while that is remembered.
    pub(crate) fn sent_as(&self, id: TaskId, now: Millis) -> Option<TaskId> {
        let (became, until) = self.sent.get(&id)?;
        (now < *until).then_some(*became)
    }

    /// Remembers what an idempotent send became.
    pub(crate) fn remember(&mut self, id: TaskId, became: TaskId, until: Millis, now: Millis) {
        while let Some(&(end, ended)) = self.sent_ends.first()
            && end <= now
        {
            self.sent_ends.pop_first();
            self.sent.remove(&ended);
        }
        if let Some((_, end)) = self.sent.insert(id, (became, until)) {
            self.sent_ends.remove(&(end, id));
        }
        self.sent_ends.insert((until, id));
        self.remember_until = self.remember_until.max(until);
    }

    /// When the last span ends that outlives its task, of all there ever were.
    pub(crate) fn remember_until(&self) -> Millis {
        self.remember_until
    }

    fn free(&mut self, key: LockKey) {
        if let Some(Held { end: Some(end), .. }) = self.held.remove(&key) {
            self.held_ends.remove(&(end, key));
        }
    }
}

impl Queue {
    /// Who holds a key now.
    pub(crate) fn holder(&self, key: LockKey, now: Millis) -> Option<Held> {
        let held = *self.locks.held.get(&key)?;
        held.end.is_none_or(|end| now < end).then_some(held)
    }

    /// Lets a task hold its key. `due` is when it starts at the earliest.
    pub(crate) fn hold(
        &mut self,
        id: TaskId,
        lock: &Lock,
        due: Millis,
        limit: Option<Millis>,
        now: Millis,
    ) {
        let former = self.holder(lock.key, now);
        let end = match lock.until {
            // Whoever takes the place of another one does not make its span longer.
            Until::Elapsed(span) => Some(match former {
                Some(Held { end: Some(end), .. }) => end,
                _ => now.plus(span),
            }),
            _ => lock.ttl.map(|ttl| due.plus(ttl)),
        };
        // Spans that have ended leave their key behind until somebody holds another one.
        while let Some(&(ended, key)) = self.locks.held_ends.first()
            && ended <= now
        {
            self.locks.free(key);
        }
        self.locks.free(lock.key);
        if let Some(end) = end {
            self.locks.held_ends.insert((end, lock.key));
            if matches!(lock.until, Until::Elapsed(_)) {
                self.locks.remember_until = self.locks.remember_until.max(end);
            }
        }
        self.locks.held.insert(lock.key, Held { id, end, limit });
    }

    /// Frees the key of a task that has ended, or begun, unless it holds it for a span.
    pub(crate) fn let_go(&mut self, id: TaskId, lock: &Lock) {
        if !matches!(lock.until, Until::Elapsed(_)) {
            self.let_go_of_any(id, lock);
        }
    }

    /// Frees the key of a task, if it is its own still.
    pub(crate) fn let_go_of_any(&mut self, id: TaskId, lock: &Lock) {
        if self
            .locks
            .held
            .get(&lock.key)
            .is_some_and(|held| held.id == id)
        {
            self.locks.free(lock.key);
        }
    }

    /// Lets a dead letter that is due then hold the key of this lock; answers who holds it meanwhile. One that held it for
    /// a span from its send on does without.
    pub(crate) fn hold_anew(
        &mut self,
        id: TaskId,
        lock: Option<Lock>,
        due: Millis,
        now: Millis,
    ) -> Option<TaskId> {
        let lock = lock?;
        let is_for_a_span = |lock: &Lock| matches!(lock.until, Until::Elapsed(_));
        let before = self.tasks.get(&id)?.lock.filter(is_for_a_span);
        if is_for_a_span(&lock) && before.is_some_and(|before| before.key == lock.key) {
            return None;
        }
        let holder = self.holder(lock.key, now).filter(|held| held.id != id);
        if holder.is_none() {
            self.hold(id, &lock, due, None, now);
        }
        holder.map(|held| held.id)
    }

    /// Whether another one may take the place of the task that holds a key: it waits. One that held it for a span may be
    /// gone, and its id that of another one.
    pub(crate) fn waits(&self, id: TaskId, key: LockKey) -> bool {
        self.tasks.get(&id).is_some_and(|task| {
            task.lock.is_some_and(|lock| lock.key == key)
                && matches!(task.spot, Spot::Ready(_) | Spot::Scheduled(_))
        })
    }
}
