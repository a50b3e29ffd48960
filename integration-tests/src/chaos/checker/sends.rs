//! Every send against what became of its task: nothing accepted is lost, nothing refused is stored, nothing comes from nowhere.

use super::Violations;
use super::facts::Facts;
use super::findings::Findings;
use super::reasons::may_be_sent_twice;
use super::runs::{Case, Runs};
use crate::chaos::ledger::{Answer, Kind};

pub(super) fn check(runs: &Runs, facts: &Facts, findings: &mut Findings, wrong: &mut Violations) {
    for (id, sent) in &facts.ledger {
        check_send(runs.case(*id, *sent), facts, findings, wrong);
    }
    for entry in &runs.unfounded {
        wrong.add(|| format!("a verdict on what had not begun: {entry:?}"));
    }
}

fn check_send(case: Case<'_>, facts: &Facts, findings: &mut Findings, wrong: &mut Violations) {
    let Case { id, sent, runs } = case;
    let ended = runs.iter().any(|run| run.ended);
    let dead = facts.dead.contains_key(&id);
    let stored = !runs.is_empty() || dead;
    if ended || dead {
        *findings.ended.entry(sent.kind.name()).or_default() += 1;
    }
    match sent.answer {
        Answer::Accepted => {
            findings.accepted += 1;
            findings.at_most_once += usize::from(sent.kind.is_at_most_once());
            // What fails for good ends as a dead letter, and nowhere else.
            if !dead && (!ended || sent.kind == Kind::Doomed) {
                findings.lost += 1;
                wrong.add(|| format!("lost: {id} {sent:?}, its runs: {runs:?}"));
            }
        }
        Answer::Existing(_) => {
            findings.merged += 1;
            // The first request of a send may have been stored, and the repeated one have met another.
            if stored && !may_be_sent_twice(facts, sent) {
                wrong
                    .add(|| format!("told to be another task, and stored: {id} {sent:?} {runs:?}"));
            }
        }
        Answer::Unknown => {
            findings.unknown.0 += 1;
            findings.unknown.1 += usize::from(stored);
        }
        Answer::Refused => {
            findings.refused.0 += 1;
            if stored {
                findings.refused.1 += 1;
                wrong.add(|| format!("refused, and stored all the same: {id} {sent:?} {runs:?}"));
            }
        }
    }
}
