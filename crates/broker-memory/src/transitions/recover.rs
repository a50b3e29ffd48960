//! Recover: active -> ready, or dead, or gone, for workers whose lease has ended.

use std::time::Duration;

use lovage_core::envelope::edit;
use lovage_core::{
    Failure, FailureKind, Fence, LOSSES_KEPT_MAX, LOSSES_MAX, Loss, LostWorker, Millis, Place,
    Recovered, TaskId, WorkerId, ms,
};

use crate::queue::{Member, Queue, Spot, Suspicion};

/// The most identities that one call looks at, and the most tasks that it takes back: as in Redis, where a call must
/// stay short.
const LOOKED_AT_MAX: usize = 64;
const TAKEN_MAX: usize = 200;

impl Queue {
    /// Looks at the identities that were looked at longest ago, and takes the tasks of those that were found without a
    /// lease before.
    pub(crate) fn recover(&mut self, patience: Duration, now: Millis) -> Recovered {
        let mut taken: Vec<(Fence, TaskId)> = Vec::new();
        let mut more = false;
        // Behind all others, also where the clock is behind the looks of before.
        let last = self.members.values().map(|member| member.looked_at).max();
        let looked = now.max(last.unwrap_or_default().plus(ms(1)));
        for worker in self.longest_unseen() {
            let member = self.members.get_mut(&worker).expect("it was just listed");
            member.looked_at = looked;
            if member.is_given_up(patience, now) {
                more |= self.take_from(worker, &mut taken);
            }
        }
        taken.sort_unstable_by_key(|(fence, id)| (fence.number, fence.claimed_at, *id));
        let mut recovered = Recovered {
            more,
            ..Recovered::default()
        };
        for ((_, id), place) in taken.iter().zip(self.heads(taken.len())) {
            let loss = self.lose(*id, place, now, &mut recovered);
            self.losses.push_front(loss.clone());
            self.losses.truncate(LOSSES_KEPT_MAX);
            recovered.losses.push(loss);
        }
        let (cut, more_to_cut) = self.cut_dead(now);
        recovered.cut = cut;
        recovered.more |= more_to_cut;
        recovered.callbacks = self.owed.values().any(|since| *since <= now);
        self.members
            .retain(|_, member| member.suspicion != Suspicion::Taken || !member.active.is_empty());
        recovered
    }

    fn longest_unseen(&self) -> Vec<WorkerId> {
        let members = self.members.iter();
        let mut seen: Vec<(Millis, WorkerId)> = members
            .map(|(worker, member)| (member.looked_at, *worker))
            .collect();
        seen.sort_unstable();
        seen.truncate(LOOKED_AT_MAX);
        seen.into_iter().map(|(_, worker)| worker).collect()
    }

    /// Adds what the worker holds to `taken`, up to the most of a call. Answers whether it holds more than that.
    fn take_from(&mut self, worker: WorkerId, taken: &mut Vec<(Fence, TaskId)>) -> bool {
        let room = TAKEN_MAX - taken.len();
        let member = self.members.get_mut(&worker).expect("it was just listed");
        let held = member.active.iter().map(|(id, fence)| (*fence, *id));
        taken.extend(held.take(room));
        let more = room < member.active.len();
        if more {
            // Looked at first the next time as well.
            member.looked_at = Millis::default();
        }
        more
    }

    /// Takes one delivery back, and answers what is written of it.
    fn lose(&mut self, id: TaskId, place: i64, now: Millis, recovered: &mut Recovered) -> Loss {
        let task = self.tasks.get_mut(&id).expect("it is held");
        let Spot::Active(worker, fence) = task.spot else {
            unreachable!("{id} is held");
        };
        let losses = task.losses + 1;
        let became = if task.cancelled {
            Place::Gone
        } else if edit::acks_early(&task.bytes) || LOSSES_MAX <= losses {
            Place::Dead
        } else {
            Place::Ready
        };
        let report = &self.members[&worker].report;
        let loss = Loss {
            id,
            fence,
            lost_at: now,
            losses,
            became,
            worker: LostWorker::unknown(worker),
            task: None,
            ran: None,
            progress: None,
        };
        let loss = loss.with_report(report.as_ref().map(|(at, report)| (*at, report)));
        if became == Place::Gone {
            self.finish_cancelled(id, now);
            return loss;
        }
        task.losses = losses;
        if became == Place::Ready {
            recovered.released += 1;
            self.make_ready(id, place);
            return loss;
        }
        let whereabouts = match loss.worker.reported_at {
            Some(_) => format!(" on host {}, pid {}", loss.worker.host, loss.worker.pid),
            None => String::new(),
        };
        let mut failure = if edit::acks_early(&task.bytes) {
            let text = format!(
                "its worker {worker}{whereabouts} was lost while it held this at-most-once task: it may have run in part"
            );
            Failure::new(FailureKind::Abandoned, text)
        } else {
            let text = format!(
                "{losses} workers were lost while they held this task, the last one was {worker}{whereabouts}"
            );
            Failure::new(FailureKind::Lost, text)
        };
        let run = failure.run_mut();
        run.attempt = Some(u32::from(edit::attempts(&self.tasks[&id].bytes)) + 1);
        run.losses = Some(losses);
        run.worker = Some(worker.to_string());
        run.claimed_at = Some(fence.claimed_at);
        if loss.worker.reported_at.is_some() {
            (run.host, run.pid) = (Some(loss.worker.host.clone()), Some(loss.worker.pid));
        }
        recovered.buried += 1;
        self.bury(id, failure, now);
        loss
    }
}

impl Member {
    /// Whether two looks, `patience` apart, found the same lease ended. A broker that was itself away longer than the
    /// leases finds all of them ended at its first look; by the second its workers have renewed them.
    fn is_given_up(&mut self, patience: Duration, now: Millis) -> bool {
        self.suspicion = match self.suspicion {
            Suspicion::Taken => Suspicion::Taken,
            _ if now < self.lease_end => {
                // One that is longer than it can be: the clock was set back. Counted anew from here, it ends no earlier
                // than it was to, and the tasks of a dead worker do not wait until the clock is there again.
                self.lease_end = self.lease_end.min(now.plus(self.lease));
                Suspicion::None
            }
            // A look that is still to come is none.
            Suspicion::Lapsed {
                lease_end,
                looked_at,
            } if lease_end == self.lease_end && looked_at <= now => {
                if looked_at.plus(patience) <= now {
                    Suspicion::Taken
                } else {
                    self.suspicion
                }
            }
            _ => Suspicion::Lapsed {
                lease_end: self.lease_end,
                looked_at: now,
            },
        };
        self.suspicion == Suspicion::Taken
    }
}
