//! Why a task ran again though nothing had counted an attempt or a snooze: the fault that can have caused it.

use lovage_core::Millis;

use super::facts::{ARRIVING_MAX, Facts};
use super::runs::Run;
use crate::chaos::ledger::{Kind, Sent};
use crate::chaos::windows::What;
use crate::journal::Taken;

/// What may make a producer send again: its connections, or what they lead to.
const DOUBTS: [What; 7] = [
    What::Producer,
    What::Restart,
    What::Stall,
    What::Nuisance,
    What::HandOver,
    What::FailOver,
    What::Reshard,
];

/// Why a task ran again in the same attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its first worker was killed.
    WorkerKilled,
    /// Its first worker stopped, and gave it back unfinished.
    WorkerStopped,
    /// Its first worker was frozen for longer than the lease.
    WorkerFrozen,
    /// Its first worker was cut off for longer than the lease.
    WorkerCutOff,
    /// What stores the tasks was away while it was held.
    StoreAway,
    /// Its send was repeated after an answer that was lost, and the first copy had ended meanwhile.
    SentAgain,
    /// A replica without the newest writes was promoted.
    FailOver,
}

impl Reason {
    /// Whether the first run may have gone on when the second began.
    pub(super) fn leaves_it_running(self) -> bool {
        matches!(
            self,
            Self::WorkerFrozen | Self::WorkerCutOff | Self::StoreAway | Self::FailOver
        )
    }

    /// Whether the task lived all the while.
    pub(super) fn keeps_it_alive(self) -> bool {
        !matches!(self, Self::SentAgain | Self::FailOver)
    }
}

/// How a task came up again: in another run, or as a dead letter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) at: Millis,
    pub(super) losses: u32,
    /// It has no attempt and no snooze behind it.
    pub(super) is_fresh: bool,
}

impl From<&Run> for Again {
    fn from(run: &Run) -> Self {
        Self {
            at: run.start.at,
            losses: run.start.losses,
            is_fresh: run.start.attempt == 1 && run.start.snoozes == 0,
        }
    }
}

/// The fault that explains why a task came up again after `first`, if there is one.
pub(super) fn explain(facts: &Facts, sent: Sent, first: &Run, again: Again) -> Option<Reason> {
    match first.ack {
        Some((Taken::Release, at)) => given_back(facts, first, at),
        Some((_, at)) => {
            // What was settled is so for ever: only a lost write, or another send, brings it back.
            let sent_again = sent_again(facts, sent, first, at, again);
            sent_again.or_else(|| facts.failed_over(at, at).then_some(Reason::FailOver))
        }
        None => lost(facts, first, again)
            .or_else(|| sent_again(facts, sent, first, first.over.unwrap_or(again.at), again)),
    }
}

/// A worker gives back what has started only where it stops, and the body was not done.
fn given_back(facts: &Facts, first: &Run, at: Millis) -> Option<Reason> {
    let mut stops = facts.meeting(&[What::Stop], first.start.at, at);
    let stopped = stops.any(|window| window.touches(first.start.worker));
    (stopped && !first.ended).then_some(Reason::WorkerStopped)
}

/// Its worker did not hear that a verdict was taken: it may have lost its lease.
fn lost(facts: &Facts, first: &Run, again: Again) -> Option<Reason> {
    let touching = facts.touching(first, again.at);
    if first.start.losses < again.losses {
        let lost = touching.clone().filter(|window| facts.ends_leases(window));
        let mut reasons: Vec<_> = lost
            .filter_map(|window| match window.what {
                What::Kill => Some(Reason::WorkerKilled),
                What::Stop => Some(Reason::WorkerStopped),
                What::Freeze => Some(Reason::WorkerFrozen),
                What::Cut | What::Silence => Some(Reason::WorkerCutOff),
                What::Restart | What::Stall | What::HandOver | What::FailOver | What::Reshard => {
                    Some(Reason::StoreAway)
                }
                What::Producer | What::Nuisance => None,
            })
            .collect();
        reasons.sort_unstable();
        if let Some(reason) = reasons.first() {
            return Some(*reason);
        }
    }
    let stopped_unheard = touching
        .clone()
        .any(|window| window.what == What::Stop && facts.ends_leases(window));
    if stopped_unheard && !first.ended {
        return Some(Reason::WorkerStopped);
    }
    let failed_over = touching.clone().any(|window| window.what == What::FailOver);
    failed_over.then_some(Reason::FailOver)
}

/// A second copy can be stored only once the first is gone, and before the last request of its send has arrived.
fn sent_again(
    facts: &Facts,
    sent: Sent,
    first: &Run,
    gone_at: Millis,
    again: Again,
) -> Option<Reason> {
    // A callback is remembered by its queue, however often it is sent.
    let is_once = sent.kind.is_at_most_once() || sent.kind == Kind::Callback;
    if !first.ended || !again.is_fresh || is_once {
        return None;
    }
    let mut doubts = facts.meeting(&DOUBTS, sent.began, sent.answered);
    let repeated = doubts.any(|window| gone_at <= sent.answered.max(window.to).plus(ARRIVING_MAX));
    repeated.then_some(Reason::SentAgain)
}

/// Whether the producer may have sent it more than once.
pub(super) fn may_be_sent_twice(facts: &Facts, sent: Sent) -> bool {
    let mut doubts = facts.meeting(&DOUBTS, sent.began, sent.answered);
    !sent.kind.is_at_most_once() && doubts.next().is_some()
}
