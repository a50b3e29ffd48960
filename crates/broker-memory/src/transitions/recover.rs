//! Recover: active -> ready, or dead, or gone, for workers whose lease has ended.

use std::time::Duration;

use lovage_core::envelope::edit;
use lovage_core::{Failure, FailureKind, Fence, LOSSES_MAX, Millis, Recovered, TaskId, WorkerId};

use crate::queue::{Queue, Suspicion};

/// The most tasks that one call takes back, as in Redis, where a call must stay short.
const TAKEN_MAX: usize = 200;

impl Queue {
    /// Looks at every identity whose lease has ended, and takes the tasks of those that were found so before.
    pub(crate) fn recover(&mut self, patience: Duration, now: Millis) -> Recovered {
        let mut recovered = Recovered::default();
        let mut room = TAKEN_MAX;
        for worker in self.lapsed(now) {
            if self.is_given_up(worker, patience, now) {
                room -= self.take_from(worker, room, now, &mut recovered);
                if 0 < self.held(worker) {
                    recovered.more = true;
                    break;
                }
                self.members.remove(&worker);
            }
        }
        recovered
    }

    /// Those that recovery looked at longest ago come first.
    fn lapsed(&self, now: Millis) -> Vec<WorkerId> {
        let mut lapsed: Vec<(Millis, WorkerId)> = self
            .members
            .iter()
            .filter(|(_, member)| member.lease_end <= now)
            .map(|(worker, member)| (member.looked_at, *worker))
            .collect();
        lapsed.sort_unstable();
        lapsed.into_iter().map(|(_, worker)| worker).collect()
    }

    /// Whether two looks, `patience` apart, found the same lease ended. A broker that was itself away longer than the
    /// leases finds all of them ended at its first look; by the second its workers have renewed them.
    fn is_given_up(&mut self, worker: WorkerId, patience: Duration, now: Millis) -> bool {
        let member = self.members.get_mut(&worker).expect("it was just listed");
        member.looked_at = now;
        match member.suspicion {
            Suspicion::Taken => true,
            Suspicion::Lapsed {
                lease_end,
                looked_at,
            } if lease_end == member.lease_end => {
                let waited_enough = looked_at.plus(patience) <= now;
                if waited_enough {
                    member.suspicion = Suspicion::Taken;
                }
                waited_enough
            }
            _ => {
                member.suspicion = Suspicion::Lapsed {
                    lease_end: member.lease_end,
                    looked_at: now,
                };
                false
            }
        }
    }

    fn take_from(
        &mut self,
        worker: WorkerId,
        room: usize,
        now: Millis,
        recovered: &mut Recovered,
    ) -> usize {
        let mut held: Vec<(Fence, TaskId)> = self.members[&worker]
            .active
            .iter()
            .map(|(id, fence)| (*fence, *id))
            .collect();
        held.sort_unstable_by_key(|(fence, id)| (fence.number, fence.claimed_at, *id));
        held.truncate(room);
        for ((_, id), place) in held.iter().zip(self.heads(held.len())) {
            self.lose(*id, place, now, recovered);
        }
        held.len()
    }

    fn lose(&mut self, id: TaskId, place: i64, now: Millis, recovered: &mut Recovered) {
        let task = self.tasks.get_mut(&id).expect("it is held");
        if task.cancelled {
            self.finish_cancelled(id, now);
            return;
        }
        task.losses += 1;
        let failure = if edit::acks_early(&task.bytes) {
            Failure::new(
                FailureKind::Abandoned,
                "its worker was lost; an at-most-once task does not start again",
            )
        } else if LOSSES_MAX <= task.losses {
            Failure::new(
                FailureKind::Lost,
                format!("{} workers were lost while they held it", task.losses),
            )
        } else {
            recovered.released += 1;
            self.make_ready(id, place);
            return;
        };
        recovered.buried += 1;
        self.bury(id, failure, now);
    }
}
