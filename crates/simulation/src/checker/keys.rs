//! Who holds each key of a queue, and which sends are remembered: by what the broker answered.

use std::collections::BTreeMap;

use lovage_core::{Lock, LockKey, Millis, TaskId, Until};

/// The keys and the memory of one queue.
#[derive(Default)]
pub(super) struct Keys {
    held: BTreeMap<LockKey, Held>,
    sent: BTreeMap<TaskId, (TaskId, Millis)>,
}

/// Who holds a key.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) id: TaskId,
    /// When that ends by itself.
    end: Option<Millis>,
    /// Beyond which a debounced start is not put off.
    pub(super) limit: Option<Millis>,
}

impl Keys {
    pub(super) fn holder(&self, key: LockKey, now: Millis) -> Option<Held> {
        let held = *self.held.get(&key)?;
        held.end.is_none_or(|end| now < end).then_some(held)
    }

    /// Lets a task that is due then hold its key.
    pub(super) fn hold(
        &mut self,
        id: TaskId,
        lock: &Lock,
        due: Millis,
        limit: Option<Millis>,
        now: Millis,
    ) {
        let end = match lock.until {
            Until::Elapsed(span) => {
                let former = self.holder(lock.key, now).and_then(|held| held.end);
                Some(former.unwrap_or_else(|| now.plus(span)))
            }
            _ => lock.ttl.map(|ttl| due.max(now).plus(ttl)),
        };
        // What has ended by the broker's clock has ended for good, also where that is set back.
        self.held
            .retain(|_, held| held.end.is_none_or(|end| now < end));
        self.held.insert(lock.key, Held { id, end, limit });
    }

    /// Frees the key of a task that has ended, or begun, unless it holds it for a span.
    pub(super) fn let_go(&mut self, id: TaskId, lock: &Lock) {
        if !matches!(lock.until, Until::Elapsed(_)) {
            self.let_go_of_any(id, lock);
        }
    }

    pub(super) fn let_go_of_any(&mut self, id: TaskId, lock: &Lock) {
        if self.held.get(&lock.key).is_some_and(|held| held.id == id) {
            self.held.remove(&lock.key);
        }
    }

    /// What a send became that is remembered.
    pub(super) fn sent_as(&self, id: TaskId, now: Millis) -> Option<TaskId> {
        let (became, until) = self.sent.get(&id)?;
        (now < *until).then_some(*became)
    }

    pub(super) fn remember(&mut self, id: TaskId, became: TaskId, until: Millis, now: Millis) {
        if self.sent_as(id, now).is_none() {
            self.sent.retain(|_, (_, until)| now < *until);
            self.sent.insert(id, (became, until));
        }
    }
}
