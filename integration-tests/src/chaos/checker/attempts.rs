//! The runs of one task: when they may begin, and what may lie between one and the next.

use lovage_core::{Millis, TaskId};

use super::Violations;
use super::facts::Facts;
use super::findings::Findings;
use super::reasons::{Reason, explain};
use super::runs::{Case, Run};
use crate::chaos::ledger::Kind;
use crate::journal::Taken;

/// What counted between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: it ran again.
    Same,
    /// The failure of a task that fails at its first attempt.
    Retried,
    /// The snooze of a task that snoozes once.
    Snoozed,
    /// The counts began anew.
    Anew,
    /// What cannot be.
    Wrong,
}

impl Step {
    fn between(kind: Kind, first: &Run, second: &Run) -> Self {
        let counts = |run: &Run| (run.start.attempt, run.start.snoozes);
        let (before, after) = (counts(first), counts(second));
        let taken = first.ack.map(|(taken, _)| taken);
        // It may have been taken without its worker hearing so.
        let may_be = |expected| !first.ended && taken.is_none_or(|taken| taken == expected);
        match (kind, before, after) {
            _ if before == after => Self::Same,
            (Kind::Flaky, (1, 0), (2, 0)) if may_be(Taken::Retry) => Self::Retried,
            (Kind::Drowsy, (1, 0), (1, 1)) if may_be(Taken::Snooze) => Self::Snoozed,
            (Kind::Flaky, (2, 0), (1, 0)) | (Kind::Drowsy, (1, 1), (1, 0)) => Self::Anew,
            _ => Self::Wrong,
        }
    }
}

pub(super) fn check(
    case: Case<'_>,
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    let Case { id, sent, runs } = case;
    if let Some(first) = runs.first() {
        if first.start.at < sent.not_before {
            wrong.add(|| format!("too early: {id} {sent:?} {first:?}"));
        }
        check_losses(id, 0, sent.began, first, facts, wrong);
    }
    for run in runs {
        check_verdict(id, sent.kind, run, facts, wrong);
    }
    for pair in runs.windows(2) {
        let [first, second] = pair else { continue };
        check_pair(case, first, second, facts, findings, wrong);
        check_losses(id, first.start.losses, first.start.at, second, facts, wrong);
    }
}

fn check_pair(
    case: Case<'_>,
    first: &Run,
    second: &Run,
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    let Case { id, sent, .. } = case;
    if second.start.fence <= first.start.fence {
        wrong.add(|| format!("the fence of {id} did not grow: {first:?} {second:?}"));
    }
    let step = Step::between(sent.kind, first, second);
    if matches!(step, Step::Retried | Step::Snoozed) {
        return;
    }
    let reason = explain(facts, sent, first, second.into()).filter(|reason| match step {
        Step::Anew => matches!(reason, Reason::SentAgain | Reason::FailOver),
        Step::Wrong => false,
        Step::Same | Step::Retried | Step::Snoozed => true,
    });
    let Some(reason) = reason else {
        let around = facts.around(first);
        wrong.add(|| {
            format!("{id} ran again for no reason: {sent:?} {first:?} {second:?}, of {around:?}")
        });
        return;
    };
    *findings.repeated.entry(reason).or_default() += 1;
    if sent.kind.is_at_most_once() {
        findings.started_twice += 1;
        if reason != Reason::FailOver {
            wrong.add(|| format!("{id} may run at most once: {first:?} {second:?}"));
        }
    }
    if second.start.losses < first.start.losses && reason.keeps_it_alive() {
        wrong.add(|| format!("the losses of {id} were forgotten: {first:?} {second:?}"));
    }
    if first.over.is_some_and(|over| second.start.at < over) {
        findings.overlapping += 1;
        if !reason.leaves_it_running() {
            wrong.add(|| format!("{id} ran twice at the same time: {first:?} {second:?}"));
        }
    }
}

/// Each loss is that of a lease, which some fault has ended; being given back is none.
fn check_losses(
    id: TaskId,
    before: u32,
    since: Millis,
    run: &Run,
    facts: &Facts,
    wrong: &mut Violations,
) {
    let counted = run.start.losses.saturating_sub(before);
    if 0 < counted && facts.leases_ended(since, run.start.at) < counted {
        wrong.add(|| format!("{id} was charged a loss for no reason: {run:?}"));
    }
}

/// Every verdict is one that the body asked for, and is heard of unless a fault touched the worker.
fn check_verdict(id: TaskId, kind: Kind, run: &Run, facts: &Facts, wrong: &mut Violations) {
    let Some((taken, _)) = run.ack else {
        let mut touching = facts.touching(run, facts.checked_at);
        if !touching.any(|window| window.breaks_calls() || facts.ends_leases(window)) {
            let around = facts.around(run);
            wrong.add(|| {
                format!("no verdict on {id} was heard of, for no reason: {run:?}, of {around:?}")
            });
        }
        return;
    };
    let is_asked_for = match taken {
        Taken::Done => run.ended,
        Taken::Retry => kind == Kind::Flaky && run.over.is_some() && !run.ended,
        Taken::Snooze => kind == Kind::Drowsy && run.over.is_some() && !run.ended,
        Taken::Bury if kind.is_at_most_once() => !run.ended,
        Taken::Bury => kind == Kind::Doomed && run.over.is_some(),
        // Whether its worker stopped is asked where it runs again, or is lost.
        Taken::Release => !run.ended,
        Taken::Park => false,
    };
    if !is_asked_for {
        wrong.add(|| format!("{id} was settled against its body: {kind:?} {run:?}"));
    }
}
