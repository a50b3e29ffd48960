//! Settle: active -> gone, scheduled, ready or dead.

use std::ops::Range;

use lovage_core::envelope::edit;
use lovage_core::{Millis, Parked, Settled, Settlement, TaskId, Verdict, WorkerId};

use crate::queue::Queue;

impl Queue {
    /// Applies each verdict on a task that `worker` holds by the fence named.
    pub(crate) fn settle(
        &mut self,
        worker: WorkerId,
        settlements: Vec<Settlement>,
        now: Millis,
    ) -> Settled {
        let mut stale = Vec::new();
        let dead_before = self.dead.len();
        let mut heads = self.heads(settlements.len());
        for Settlement { id, fence, verdict } in settlements {
            // The identity's lease does not matter: until recovery has taken the task, nobody else has seen it.
            let is_held = self
                .members
                .get(&worker)
                .is_some_and(|member| member.active.get(&id) == Some(&fence));
            if !is_held {
                stale.push(id);
            } else if self.tasks[&id].cancelled && !matches!(verdict, Verdict::Done { .. }) {
                self.finish_cancelled(id, now);
            } else {
                self.apply(id, verdict, now, &mut heads);
            }
        }
        // A settlement takes nothing away from the dead: more of them were buried here.
        let (cut, _) = if dead_before < self.dead.len() {
            self.cut_dead(now)
        } else {
            Default::default()
        };
        Settled { stale, cut }
    }

    fn apply(&mut self, id: TaskId, verdict: Verdict, now: Millis, heads: &mut Range<i64>) {
        match verdict {
            Verdict::Done { outcome, keep } => self.finish(id, &outcome, keep, now),
            Verdict::RetryIn(span) => {
                let task = self.tasks.get_mut(&id).expect("it is held");
                task.bytes = edit::count_attempt(&task.bytes);
                self.schedule(id, now.plus(span));
            }
            Verdict::Park(span) => {
                let task = self.tasks.get_mut(&id).expect("it is held");
                let parked = task.parked.get_or_insert(Parked {
                    since: now,
                    times: 0,
                });
                parked.times += 1;
                self.schedule(id, now.plus(span));
            }
            Verdict::Snooze(span) => {
                let task = self.tasks.get_mut(&id).expect("it is held");
                task.snoozes = task.snoozes.saturating_add(1);
                self.schedule(id, now.plus(span));
            }
            Verdict::Bury(failure) => self.bury(id, failure, now),
            // Release, and what a newer core knows and this broker does not: it must not be lost.
            _ => {
                let place = heads.next().expect("there is a place for each verdict");
                self.make_ready(id, place);
            }
        }
    }
}
