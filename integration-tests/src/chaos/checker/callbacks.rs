//! Callbacks: one for each task that has failed for good, and none for others. Tasks that nobody has sent are found here as well.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{TaskId, secs};

use super::Violations;
use super::facts::Facts;
use super::findings::Findings;
use super::runs::Runs;
use crate::chaos::ledger::{Answer, Kind, Sent};

/// How long after a death its callback may still be on its way to a replica.
const SENDING_MAX: Duration = secs(30);

/// Takes the callbacks out of what is not in the ledger; the rest comes from nowhere.
pub(super) fn find(runs: &Runs, facts: &Facts, wrong: &mut Violations) -> HashMap<TaskId, Sent> {
    let ran = runs.all().map(|(id, runs)| {
        let parent = runs.first().and_then(|run| run.start.parent);
        (id, parent)
    });
    let dead = facts.dead.iter().map(|(id, death)| (*id, death.parent));
    let mut callbacks = HashMap::new();
    for (id, parent) in ran.chain(dead) {
        if facts.ledger.contains_key(&id) {
            continue;
        }
        let failed = parent.and_then(|parent| Some((parent, facts.ledger.get(&parent)?)));
        match failed {
            Some((parent, sent)) if sent.kind == Kind::Doomed => {
                callbacks.insert(id, callback(parent, *sent, facts));
            }
            _ => wrong.add(|| format!("nobody has sent {id}: {:?}", runs.of(id))),
        }
    }
    callbacks
}

/// It is as if the callback had been sent when its task died.
fn callback(failed: TaskId, sent: Sent, facts: &Facts) -> Sent {
    let died_at = facts.dead.get(&failed).map_or(sent.began, |death| death.at);
    Sent {
        kind: Kind::Callback,
        began: died_at,
        answered: died_at,
        answer: Answer::Existing(failed),
        not_before: sent.began,
        made: 0,
    }
}

pub(super) fn check(
    callbacks: &HashMap<TaskId, Sent>,
    runs: &Runs,
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    let mut by_failed: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
    for (id, sent) in callbacks {
        if let Answer::Existing(failed) = sent.answer {
            by_failed.entry(failed).or_default().push(*id);
        }
    }
    for (failed, ids) in &by_failed {
        let (death, began) = (facts.dead.get(failed), facts.ledger[failed].began);
        let until = death.map_or(facts.checked_at, |death| death.at);
        // A failover may take a death back, and then there is another one.
        let is_one = death.is_some() && ids.len() == 1;
        if !is_one && !facts.failed_over(began, until) {
            wrong.add(|| format!("called back for no death of {failed}: {death:?} {ids:?}"));
        }
    }
    for (id, death) in &facts.dead {
        let calls_back = facts
            .ledger
            .get(id)
            .is_some_and(|sent| sent.kind == Kind::Doomed);
        if !calls_back {
            continue;
        }
        let called = by_failed.get(id).into_iter().flatten().any(|callback| {
            facts.dead.contains_key(callback) || runs.of(*callback).iter().any(|run| run.ended)
        });
        findings.called_back += usize::from(called);
        // What a worker sends is not confirmed by replicas: a failover may lose it.
        if !called && !facts.failed_over(death.at, death.at.plus(SENDING_MAX)) {
            wrong.add(|| format!("nobody was called back for {id}: {death:?}"));
        }
    }
}
