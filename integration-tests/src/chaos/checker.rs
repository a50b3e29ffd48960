//! What was promised against what happened, over every send, start, end and verdict of a run.
//!
//! Each of the files below holds some laws: what no history may show. A fault excuses only what it can have caused: it must have touched the worker
//! in question while that held the task, or the send while that was under way.

mod attempts;
mod callbacks;
mod deaths;
mod facts;
mod findings;
mod keys;
mod reasons;
mod runs;
mod sends;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};

use crate::journal::Journal;

pub use deaths::Death;
pub use facts::Facts;
pub use findings::Findings;
pub(crate) use findings::median_and_longest;
pub use reasons::Reason;
use runs::Runs;

/// Violations that are shown; the others are counted.
const SHOWN_MAX: usize = 10;

/// What was seen that must not be.
#[derive(Debug, Default)]
struct Violations {
    shown: Vec<String>,
    count: usize,
}

impl Violations {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(text());
        }
    }
}

/// Checks the history of a run.
///
/// # Errors
/// With the first violations, and how many there are.
pub fn check(journal: &Journal, facts: &Facts) -> Result<Findings> {
    check_runs(&Runs::read(|take| journal.each(take)), facts)
}

fn check_runs(runs: &Runs, facts: &Facts) -> Result<Findings> {
    let (mut findings, mut wrong) = (Findings::over(runs, facts), Violations::default());
    let callbacks = callbacks::find(runs, facts, &mut wrong);
    sends::check(runs, facts, &mut findings, &mut wrong);
    for (id, sent) in facts.ledger.iter().chain(&callbacks) {
        let case = runs.case(*id, *sent);
        attempts::check(case, facts, &mut findings, &mut wrong);
        deaths::check(case, facts, &mut wrong);
    }
    callbacks::check(&callbacks, runs, facts, &mut findings, &mut wrong);
    keys::check(runs, facts, &mut findings, &mut wrong);
    ensure!(
        wrong.count == 0,
        "{} violations, the first are:\n{}\n{findings}",
        wrong.count,
        wrong.shown.join("\n")
    );
    ensure!(
        0 < findings.acknowledged || findings.accepted == 0,
        "the journal has no acknowledgement: what the workers say of their verdicts is not heard"
    );
    Ok(findings)
}
