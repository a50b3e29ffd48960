//! Dead letters: which kinds of tasks may die, and of what.

use lovage_core::{DeadLetter, Envelope, FailureKind, Millis, TaskId};

use super::Violations;
use super::facts::Facts;
use super::reasons::{Again, explain};
use super::runs::Case;
use crate::chaos::ledger::Kind;
use crate::chaos::windows::{What, Window};

/// After so many losses a task is buried.
const LOSSES_MAX: u32 = 3;

/// One dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// Of what it died.
    pub kind: FailureKind,
    /// When.
    pub at: Millis,
    /// How often a worker was lost that held it.
    pub losses: u32,
    /// When its last worker claimed it.
    pub claimed_at: Option<Millis>,
    /// The process of its last worker, if that is known.
    pub worker: Option<u32>,
    /// The task that sent it.
    pub parent: Option<TaskId>,
}

impl Death {
    pub(crate) fn of(letter: &DeadLetter) -> Self {
        let run = letter.failure.run.clone().unwrap_or_default();
        let envelope = Envelope::decode(&letter.bytes).ok();
        Self {
            kind: letter.failure.kind,
            at: letter.died_at,
            losses: run.losses.unwrap_or_default(),
            claimed_at: run.claimed_at,
            worker: run.pid,
            parent: envelope.and_then(|envelope| envelope.parent),
        }
    }
}

pub(super) fn check(case: Case<'_>, facts: &Facts, wrong: &mut Violations) {
    let Case { id, sent, runs } = case;
    let Some(death) = facts.dead.get(&id) else {
        return;
    };
    let may_be = match death.kind {
        FailureKind::Error => {
            sent.kind == Kind::Doomed && runs.last().is_some_and(|run| run.over.is_some())
        }
        FailureKind::Abandoned => sent.kind.is_at_most_once() && is_abandoned(case, death, facts),
        FailureKind::Lost => {
            !sent.kind.is_at_most_once()
                && LOSSES_MAX <= death.losses
                && LOSSES_MAX <= facts.leases_ended(sent.began, death.at)
        }
        _ => false,
    };
    if !may_be {
        wrong.add(|| format!("{id} died for no reason: {sent:?} {death:?} {runs:?}"));
    }
    if let Some(last) = runs.last()
        && last.done_at().is_some()
    {
        let again = Again {
            at: death.at,
            losses: death.losses,
            is_fresh: true,
        };
        if explain(facts, sent, last, again).is_none() {
            wrong.add(|| format!("{id} was done, and died all the same: {death:?} {last:?}"));
        }
    }
}

/// Its worker lost its lease while it held it, or stopped while the body ran.
fn is_abandoned(case: Case<'_>, death: &Death, facts: &Facts) -> bool {
    let since = death.claimed_at.unwrap_or(case.sent.began);
    let unfinished = case.runs.last().is_some_and(|run| !run.ended);
    let stops = facts.meeting(&[What::Stop], since, death.at);
    let ends = facts.ending_leases(since, death.at);
    let touches = |window: &&Window| death.worker.is_none_or(|worker| window.touches(worker));
    ends.chain(stops.filter(|_| unfinished))
        .any(|window| touches(&window))
}
