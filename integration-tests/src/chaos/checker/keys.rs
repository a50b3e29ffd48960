//! Keys: of the tasks with a unique key one lives at a time, and what is sent under an idempotency key is one task.

use std::collections::HashMap;

use lovage_core::{Millis, TaskId};

use super::Violations;
use super::facts::Facts;
use super::findings::Findings;
use super::reasons::{Reason, explain};
use super::runs::{Run, Runs};
use crate::chaos::ledger::{Answer, Kind, Sent};

pub(super) fn check(runs: &Runs, facts: &Facts, findings: &mut Findings, wrong: &mut Violations) {
    let mut by_key: HashMap<u8, Vec<(TaskId, &Run)>> = HashMap::new();
    for (id, sent) in &facts.ledger {
        if let Kind::Unique(key) = sent.kind {
            let own = runs.of(*id).iter().map(|run| (*id, run));
            by_key.entry(key).or_default().extend(own);
        }
        if let Answer::Existing(holder) = sent.answer {
            check_holder(*id, *sent, holder, runs, facts, wrong);
        }
        if sent.kind == Kind::Keyed && 1 < sent.made {
            wrong.add(|| format!("made more than once: {id} {sent:?}"));
        }
    }
    for of_key in by_key.values_mut() {
        of_key.sort_by_key(|(_, run)| run.start.at);
        check_one_at_a_time(of_key, facts, findings, wrong);
        check_held_throughout(of_key, facts, wrong);
    }
}

/// Who is said to hold the key has the same one, and was there at some instant of the send.
fn check_holder(
    id: TaskId,
    sent: Sent,
    holder: TaskId,
    runs: &Runs,
    facts: &Facts,
    wrong: &mut Violations,
) {
    let same_key = matches!(sent.kind, Kind::Unique(_))
        && facts
            .ledger
            .get(&holder)
            .is_some_and(|other| other.kind == sent.kind);
    if !same_key {
        wrong.add(|| format!("told to be a task of another key: {id} {sent:?}"));
    }
    let last = runs.of(holder).last();
    let ended_at = facts
        .dead
        .get(&holder)
        .map(|death| death.at)
        .or_else(|| last.and_then(Run::done_at));
    if let Some(at) = ended_at
        && at < sent.began
        && !facts.failed_over(at, at)
    {
        wrong.add(|| format!("told to be a task that was gone since {at:?}: {id} {sent:?}"));
    }
}

/// No body begins while that of another task with the key goes on, unless that one's worker has lost its lease.
fn check_one_at_a_time(
    of_key: &[(TaskId, &Run)],
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    let mut longest: Option<(TaskId, &Run, Millis)> = None;
    for (id, run) in of_key {
        if let Some((other, before, over)) = longest
            && other != *id
            && run.start.at < over
        {
            findings.overlapping += 1;
            let mut touching = facts.touching(before, run.start.at);
            if !touching.any(|window| facts.ends_leases(window)) {
                wrong.add(|| format!("two tasks of one key ran at once: {before:?} {run:?}"));
            }
        }
        if let Some(over) = run.over
            && longest.is_none_or(|(.., longest)| longest < over)
        {
            longest = Some((*id, run, over));
        }
    }
}

/// A task that runs again has kept its key meanwhile, so that no other has begun.
fn check_held_throughout(of_key: &[(TaskId, &Run)], facts: &Facts, wrong: &mut Violations) {
    let mut before: HashMap<TaskId, usize> = HashMap::new();
    for (place, (id, run)) in of_key.iter().enumerate() {
        let Some(earlier) = before.insert(*id, place) else {
            continue;
        };
        let first = of_key[earlier].1;
        let between = &of_key[earlier + 1..place];
        let sent = facts.ledger[id];
        let lived = explain(facts, sent, first, (*run).into()).is_some_and(Reason::keeps_it_alive)
            && !facts.failed_over(first.start.at, run.start.at);
        if let Some((_, other)) = between.first()
            && lived
        {
            wrong.add(|| format!("a key was given away: {first:?} {other:?} {run:?}"));
        }
    }
}
