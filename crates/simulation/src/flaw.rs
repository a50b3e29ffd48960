//! Bugs on purpose: each is one that a broker could have, and that the checker must see.

use std::time::Duration;

use lovage_core::{
    Amendment, BrokerError, Callbacks, Cancelled, Conflict, Control, Encoded, Enqueued, Envelope,
    Fence, Inspect, Membership, Owed, Place, QueueName, Recovered, Settlement, TaskId, Until,
    Verdict, WorkerId, hours, secs,
};

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
    /// It frees a key when its task is first taken, and not when that has ended.
    FreesKeysEarly,
    /// It holds a key for an hour, whatever becomes of its task.
    KeepsKeys,
    /// It answers that a task has the arguments of a newer one, and has left it as it was.
    KeepsOldArguments,
    /// It remembers no send.
    ForgetsSends,
    /// It counts an attempt for each snooze.
    CountsSnoozes,
    /// It lets a task run again at once, whatever was asked for.
    RetriesAtOnce,
    /// It runs again what it was to bury.
    BuriesNothing,
    /// Its fences fall.
    FallingFences,
    /// It answers that it has marked a running task as cancelled, and has not.
    ForgetsCancels,
    /// It hands tasks out again that may run at most once.
    BringsBackAtMostOnce,
    /// It takes a callback for sent as soon as somebody was told to send it.
    LosesCallbacks,
}

impl Flaw {
    pub(crate) fn loses_the_task(self) -> bool {
        self == Self::LosesTasks && fastrand::u32(0..8) == 0
    }

    /// The message as it is taken.
    pub(crate) fn sends(self, task: Encoded) -> Encoded {
        let Ok(mut envelope) = Envelope::decode(task.bytes()) else {
            return task;
        };
        match (self, &mut envelope.unique) {
            (Self::FreesKeysEarly, Some(lock)) if lock.until == Until::Done => {
                lock.until = Until::Start;
            }
            (Self::KeepsKeys, Some(lock)) => lock.until = Until::Elapsed(hours(1)),
            (Self::KeepsOldArguments, Some(lock)) => lock.conflict = Conflict::Reject,
            (Self::ForgetsSends, _) => envelope.remembered = None,
            _ => return task,
        }
        envelope.encode().unwrap_or(task)
    }

    /// What is said of it.
    pub(crate) fn answers(self, answer: Enqueued) -> Enqueued {
        match answer {
            Enqueued::Existing(id) if self == Self::KeepsOldArguments => Enqueued::Replaced(id),
            answer => answer,
        }
    }

    /// The fence of a handing-out as it is told, or the other way round.
    pub(crate) fn fence(self, fence: Fence) -> Fence {
        const HIGH: u64 = 1 << 60;
        match self {
            Self::FallingFences => Fence {
                number: HIGH - fence.number,
                ..fence
            },
            _ => fence,
        }
    }

    /// The verdict as it is applied.
    pub(crate) fn settles(self, settlement: Settlement) -> Settlement {
        let verdict = match (self, settlement.verdict) {
            (Self::CountsSnoozes, Verdict::Snooze(span)) => Verdict::RetryIn(span),
            (Self::RetriesAtOnce, Verdict::RetryIn(_)) => Verdict::RetryIn(Duration::ZERO),
            (Self::BuriesNothing, Verdict::Bury(_)) => Verdict::RetryIn(secs(2)),
            (_, verdict) => verdict,
        };
        Settlement {
            fence: self.fence(settlement.fence),
            verdict,
            ..settlement
        }
    }

    pub(crate) async fn cancels<B: Control + Inspect>(
        self,
        broker: &B,
        queue: &QueueName,
        id: TaskId,
    ) -> Result<Cancelled, BrokerError> {
        if self == Self::ForgetsCancels && broker.state(queue, id).await? == Place::Active {
            return Ok(Cancelled::Marked);
        }
        broker.cancel(queue, id).await
    }

    /// What recovery has buried and should have.
    pub(crate) async fn brings_back<B: Control>(
        self,
        broker: &B,
        queue: &QueueName,
        recovered: &Recovered,
    ) -> Result<(), BrokerError> {
        if self == Self::BringsBackAtMostOnce {
            for loss in &recovered.losses {
                broker.revive(queue, loss.id).await?;
            }
        }
        Ok(())
    }

    /// What somebody was told to send.
    pub(crate) async fn forgets<B: Callbacks>(
        self,
        broker: &B,
        queue: &QueueName,
        owed: &[Owed],
    ) -> Result<(), BrokerError> {
        if self != Self::LosesCallbacks {
            return Ok(());
        }
        let letters = owed.iter().map(|owed| &owed.letter);
        let deaths = letters.map(|letter| (letter.id, letter.died_at));
        broker.called_back(queue, deaths.collect()).await
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
