//! Bugs on purpose: each is one that a broker could have, and that the checker must see.

use std::time::Duration;

use lovage_core::{Amendment, Membership, QueueName, Settlement, WorkerId};

/// What is wrong with the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// It applies a verdict whoever holds the task, and by which fence.
    NoFence,
    /// It gives leases of a quarter of what was asked for.
    ShortLeases,
    /// It answers that it has a task, and has not.
    LosesTasks,
    /// It answers that it has applied a verdict, and has not.
    LosesVerdicts,
    /// It takes an occurrence for fired, and forgets its task.
    LosesFirings,
}

impl Flaw {
    pub(crate) fn loses_the_task(self) -> bool {
        self == Self::LosesTasks && fastrand::u32(0..8) == 0
    }

    pub(crate) fn lease(self, lease: Duration) -> Duration {
        if self == Self::ShortLeases {
            lease / 4
        } else {
            lease
        }
    }

    /// The changes as they are made.
    pub(crate) fn amends(self, mut amendments: Vec<Amendment>) -> Vec<Amendment> {
        if self == Self::LosesFirings && fastrand::u32(0..8) == 0 {
            for amendment in &mut amendments {
                amendment.sends.clear();
            }
        }
        amendments
    }

    /// Whose verdicts are applied, and which.
    pub(crate) async fn settles_as<B: Membership>(
        self,
        broker: &B,
        workers: &[WorkerId],
        worker: WorkerId,
        queue: &QueueName,
        mut settlements: Vec<Settlement>,
    ) -> (WorkerId, Vec<Settlement>) {
        match self {
            Self::LosesVerdicts if fastrand::u32(0..8) == 0 => settlements.clear(),
            Self::NoFence => {
                for other in workers {
                    let Ok(held) = broker.holdings(*other, queue).await else {
                        continue;
                    };
                    let mut any = false;
                    for settlement in &mut settlements {
                        if let Some((_, fence)) = held.iter().find(|(id, _)| *id == settlement.id) {
                            any |= *other != worker || *fence != settlement.fence;
                            settlement.fence = *fence;
                        }
                    }
                    if any {
                        return (*other, settlements);
                    }
                }
            }
            _ => {}
        }
        (worker, settlements)
    }
}
