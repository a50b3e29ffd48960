//! What a history without a violation amounts to.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, ensure};
use lovage_core::{Millis, ms};

use super::facts::Facts;
use super::reasons::Reason;
use super::runs::Runs;
use crate::chaos::ledger::Kind;
use crate::chaos::windows::{What, Window, counts};

/// What a history without a violation amounts to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Sends that were answered `Ok`; all under one idempotency key are one.
    pub accepted: usize,
    /// Those of them that were lost.
    pub lost: usize,
    /// Sends of unique tasks that were answered with the one that holds the key.
    pub merged: usize,
    /// Sends whose answer is missing, and how many of those had been stored.
    pub unknown: (usize, usize),
    /// Sends that were refused, and how many of those had been stored all the same.
    pub refused: (usize, usize),
    /// Tasks that have ended or died, by their kind.
    pub ended: BTreeMap<&'static str, usize>,
    /// Runs, of all attempts.
    pub runs: usize,
    /// Runs whose verdict the broker has taken.
    pub acknowledged: usize,
    /// At-most-once tasks accepted.
    pub at_most_once: usize,
    /// At-most-once tasks that started again, each after a failover that had lost a write.
    pub started_twice: usize,
    /// Runs again in the same attempt, by their reason.
    pub repeated: BTreeMap<Reason, usize>,
    /// Two runs of one task or key at the same time, the first by a worker whose lease had ended.
    pub overlapping: usize,
    /// Deaths that somebody was called back for.
    pub called_back: usize,
    /// Dead letters, by their kind.
    pub dead: BTreeMap<String, usize>,
    /// How often each fault was brought about.
    pub faults: BTreeMap<What, usize>,
    /// From each kill of a worker until its last task ran again, in ms, sorted.
    pub recovered_after_ms: Vec<u64>,
    /// From the return of what stores the tasks until the next end of a task, in ms, sorted.
    pub resumed_after_ms: Vec<u64>,
    /// From the last fault until nothing was left.
    pub drained_in: Duration,
}

impl Findings {
    pub(super) fn over(runs: &Runs, facts: &Facts) -> Self {
        let mut findings = Self {
            faults: counts(&facts.windows),
            recovered_after_ms: recoveries(runs, facts),
            resumed_after_ms: resumptions(&runs.ends, facts),
            ..Self::default()
        };
        for (_, runs) in runs.all() {
            findings.runs += runs.len();
            findings.acknowledged += runs.iter().filter(|run| run.ack.is_some()).count();
        }
        for death in facts.dead.values() {
            *findings.dead.entry(death.kind.to_string()).or_default() += 1;
        }
        findings
    }

    /// Holds that the run has seen what a run of some minutes cannot but see: a proof of nothing else proves nothing.
    ///
    /// # Errors
    /// What it has not seen.
    pub fn ensure_broad(&self) -> Result<()> {
        for kind in Kind::SENT {
            let name = kind.name();
            ensure!(self.ended.contains_key(name), "no {name} has ended: {self}");
        }
        for reason in [Reason::WorkerKilled, Reason::WorkerStopped] {
            let seen = self.repeated.contains_key(&reason);
            ensure!(seen, "nothing ran again for {reason:?}: {self}");
        }
        for what in [What::Kill, What::Stop, What::Freeze, What::Stall] {
            ensure!(self.faults.contains_key(&what), "no {what:?}: {self}");
        }
        ensure!(0 < self.merged, "no unique task met another: {self}");
        ensure!(0 < self.called_back, "nobody was called back: {self}");
        ensure!(
            self.dead.contains_key("abandoned"),
            "no at-most-once task was lost with its worker: {self}"
        );
        Ok(())
    }
}

/// For each kill that hit runs: how long until the last of them ran again.
fn recoveries(runs: &Runs, facts: &Facts) -> Vec<u64> {
    let kills = || {
        facts
            .windows
            .iter()
            .filter(|window| window.what == What::Kill)
    };
    let mut last = HashMap::<(u32, Millis), Duration>::new();
    for pair in runs.all().flat_map(|(_, runs)| runs.windows(2)) {
        let [first, second] = pair else { continue };
        if first.over.is_some() {
            continue;
        }
        // The process ids of a host come round again: the worker that an earlier kill hit was another.
        let (worker, held) = (first.start.worker, first.start.at..=second.start.at);
        let of_it = |kill: &&Window| kill.touches(worker) && held.contains(&kill.from);
        let Some(kill) = kills().find(of_it) else {
            continue;
        };
        let span = second.start.at.since(kill.from);
        let longest = last.entry((worker, kill.from)).or_default();
        *longest = span.max(*longest);
    }
    sorted_ms(last.into_values())
}

/// For each outage: how long after it the next task ended.
fn resumptions(ends: &[Millis], facts: &Facts) -> Vec<u64> {
    let outages = facts.windows.iter().filter(|window| {
        matches!(
            window.what,
            What::Restart | What::Stall | What::HandOver | What::FailOver
        )
    });
    let spans = outages.filter_map(|window| {
        let next = ends.partition_point(|end| *end < window.to);
        Some(ends.get(next)?.since(window.to))
    });
    sorted_ms(spans)
}

fn sorted_ms(spans: impl Iterator<Item = Duration>) -> Vec<u64> {
    let mut all: Vec<u64> = spans.map(lovage_core::span_ms).collect();
    all.sort_unstable();
    all
}

/// The median and the longest of sorted spans.
pub(crate) fn median_and_longest(sorted: &[u64]) -> (Duration, Duration) {
    let at = |index: usize| ms(sorted.get(index).copied().unwrap_or_default());
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}
