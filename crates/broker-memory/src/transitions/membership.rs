//! Registering, renewing and retiring an identity.

use std::time::Duration;

use lovage_core::{KnownWorker, Millis, Renewal, TaskId, WorkerId, WorkerReport};

use crate::queue::{Queue, Suspicion};

/// The most cancelled tasks that one renewal names.
const CANCELLED_MAX: usize = 100;

impl Queue {
    /// Makes an identity known, with a lease; `false` if recovery is taking its tasks, since it is dead for good.
    pub(crate) fn register(&mut self, worker: WorkerId, lease: Duration, now: Millis) -> bool {
        let member = self.members.entry(worker).or_default();
        let lives = member.suspicion != Suspicion::Taken;
        if lives {
            member.renew(lease, now);
        }
        lives
    }

    /// Makes the lease of a known identity end `lease` from now.
    pub(crate) fn renew(&mut self, worker: WorkerId, lease: Duration, now: Millis) -> Renewal {
        match self.members.get_mut(&worker) {
            Some(member) if member.suspicion != Suspicion::Taken => {
                member.renew(lease, now);
            }
            _ => return Renewal::Lost,
        }
        let cancelled: Vec<TaskId> = self.members[&worker]
            .active
            .keys()
            .filter(|id| self.tasks[id].cancelled)
            .take(CANCELLED_MAX)
            .copied()
            .collect();
        Renewal::Held { cancelled }
    }

    /// Keeps what a known identity says of itself; `false` if it is none, or dead.
    pub(crate) fn report(&mut self, worker: WorkerId, report: &[u8], now: Millis) -> bool {
        match self.members.get_mut(&worker) {
            Some(member) if member.suspicion != Suspicion::Taken => {
                member.report = WorkerReport::decode(report).map(|report| (now, report));
                true
            }
            _ => false,
        }
    }

    /// The workers that are known, a page of them.
    pub(crate) fn workers(&self, offset: usize, limit: usize) -> Vec<KnownWorker> {
        let members = self.members.iter().skip(offset).take(limit);
        members
            .map(|(worker, member)| KnownWorker {
                worker: *worker,
                lease_end: member.lease_end,
                report: member.report.clone(),
            })
            .collect()
    }

    /// Ends an identity, unless it holds something.
    pub(crate) fn retire(&mut self, worker: WorkerId) -> bool {
        let holds_nothing = self.held(worker) == 0;
        if holds_nothing {
            self.members.remove(&worker);
        }
        holds_nothing
    }
}
