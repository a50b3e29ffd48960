//! Lead: nobody or a beat whose lease has ended -> this beat; and what the leader must look at.

use std::num::NonZeroU16;
use std::time::Duration;

use lovage_core::{BATCH_MAX, BeatId, BeatRole, Lead, Leader, Millis, Tick};

use crate::beat::{Beat, Lease};

impl Beat {
    /// Gives or keeps `beat` the lead, if no other one has it.
    pub(crate) fn lead(
        &mut self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
        now: Millis,
    ) -> Lead {
        let is_its_own = self.leader.is_some_and(|leader| leader.beat == beat);
        if !is_its_own {
            if let Some(leader) = self.leader(now).filter(|leader| !leader.ends_in.is_zero()) {
                return Lead::Standby(leader);
            }
            self.epoch += 1;
        }
        self.leader = Some(Lease {
            beat,
            renewed: now,
            end: now.plus(lease),
        });
        Lead::Held(self.tick(usize::from(max.get()).min(BATCH_MAX), now))
    }

    /// Frees the lead, if `beat` has it.
    pub(crate) fn resign(&mut self, beat: BeatId) {
        if self.leader.is_some_and(|leader| leader.beat == beat) {
            self.leader = None;
            self.bell(BeatRole::Standby).notify_one();
        }
    }

    /// Who leads.
    pub(crate) fn leader(&self, now: Millis) -> Option<Leader> {
        self.leader.map(|lease| Leader {
            beat: lease.beat,
            epoch: self.epoch,
            // Where the clock has gone back behind the last renewal, nobody knows how long it lasts.
            ends_in: if now < lease.renewed {
                Duration::ZERO
            } else {
                lease.end.since(now)
            },
        })
    }

    fn tick(&self, max: usize, now: Millis) -> Tick {
        let mut due = Vec::new();
        let mut next_wake = None;
        for (wake, name) in self.wakes() {
            if now < wake || due.len() == max {
                next_wake = Some(wake.since(now));
                break;
            }
            due.extend(self.schedule(name));
        }
        Tick {
            epoch: self.epoch,
            now,
            due,
            next_wake,
            outboxes: self.outboxes.keys().take(BATCH_MAX).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_free_where_the_clock_has_gone_back_behind_it() {
        let mut beat = Beat::default();
        let [dead, next, third] = [(); 3].map(|()| BeatId::random());
        let mut lead = |who, hour: u64| {
            let now = Millis::new(hour * 3_600_000);
            let lease = lovage_core::secs(60);
            beat.lead(who, lease, NonZeroU16::MIN, now)
        };
        for (who, hour, leads) in [(dead, 9, true), (next, 8, true), (third, 8, false)] {
            let answer = lead(who, hour);
            assert_eq!(matches!(answer, Lead::Held(_)), leads, "{answer:?}");
        }
    }
}
