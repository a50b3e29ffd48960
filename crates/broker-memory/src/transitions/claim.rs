//! Claim: scheduled -> ready for what is due, then ready -> active.

use std::num::NonZeroU16;

use lovage_core::{BATCH_MAX, Batch, Claim, Delivery, Fence, Millis, TaskId, Until, WorkerId};

use crate::beat::next;
use crate::queue::{Queue, Spot, Suspicion};

/// The most tasks whose time has come that one claim makes ready, as in Redis, where a claim must stay short.
const PROMOTED_MAX: usize = 1000;

impl Queue {
    /// Gives `worker` up to `max` tasks.
    pub(crate) fn claim(&mut self, worker: WorkerId, max: NonZeroU16, now: Millis) -> Claim {
        let lease_is_good = self
            .members
            .get(&worker)
            .is_some_and(|member| now < member.lease_end && member.suspicion != Suspicion::Taken);
        if !lease_is_good {
            return Claim::NoLease;
        }
        self.promote(now);
        let count = usize::from(max.get()).min(BATCH_MAX);
        let ids: Vec<TaskId> = self.ready.values().take(count).copied().collect();
        if !ids.is_empty() {
            self.claims = next(self.claims, now);
        }
        let fence = Fence {
            number: self.claims,
            claimed_at: now,
        };
        let deliveries = ids
            .into_iter()
            .map(|id| self.deliver(id, worker, fence))
            .collect();
        // The one waiter that the last ring woke is here; what it leaves is for the next.
        if !self.ready.is_empty() {
            self.bell.notify_one();
        }
        Claim::Granted(Batch {
            deliveries,
            held: self.held(worker),
            now,
            next_due: self.next_due(now),
        })
    }

    fn promote(&mut self, now: Millis) {
        for _ in 0..PROMOTED_MAX {
            match self.scheduled.first() {
                Some(&(due, id)) if due <= now => {
                    let place = self.tail();
                    self.make_ready(id, place);
                }
                _ => return,
            }
        }
    }

    fn deliver(&mut self, id: TaskId, worker: WorkerId, fence: Fence) -> Delivery {
        self.move_to(id, Spot::Active(worker, fence));
        let task = self.tasks.get_mut(&id).expect("it was just moved");
        task.taken = true;
        if let Some(lock) = task.lock
            && lock.until == Until::Start
        {
            self.let_go(id, &lock);
        }
        let task = &self.tasks[&id];
        Delivery {
            id,
            fence,
            bytes: task.bytes.clone(),
            losses: task.losses,
            snoozes: task.snoozes,
            parked: task.parked,
        }
    }
}
