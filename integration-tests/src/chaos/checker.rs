//! What was promised against what happened, over every send, start, end and acknowledgement of a run.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, ensure};
use lovage_core::{FailureKind, Millis, TaskId, ms};

use super::ledger::{Answer, Kind, Sent};
use super::windows::{What, Window, counts};
use crate::journal::{Entry, Event, Journal};

/// Violations that are shown; the others are counted.
const SHOWN_MAX: usize = 10;
/// How early a lease can end after its worker fell silent: the last renewal was up to a third of it before that, and
/// the worker itself takes it as ended a margin sooner.
const LEASE_PART: f64 = 0.5;

/// Everything but the journal.
#[derive(Debug)]
pub struct Facts {
    /// All sends.
    pub ledger: HashMap<TaskId, Sent>,
    /// All faults.
    pub windows: Vec<Window>,
    /// The dead letters at the end.
    pub dead: HashMap<TaskId, FailureKind>,
    /// The lease of the workers.
    pub lease: Duration,
    /// When all was at rest.
    pub checked_at: Millis,
}

/// Why a task ran again in the same attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its first worker was killed.
    WorkerKilled,
    /// Its first worker stopped, and gave it back.
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

/// What a history without a violation amounts to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Sends that were answered `Ok`.
    pub accepted: usize,
    /// Sends whose answer is missing, and how many of those had been stored.
    pub unknown: (usize, usize),
    /// Sends that were refused; none of them ran.
    pub refused: usize,
    /// Runs, of all attempts.
    pub runs: usize,
    /// Runs whose verdict the broker has taken.
    pub acknowledged: usize,
    /// At-most-once tasks accepted.
    pub at_most_once: usize,
    /// Runs again in the same attempt, by their reason.
    pub repeated: BTreeMap<Reason, usize>,
    /// Two runs of one task at the same time, the first by a worker whose lease had ended.
    pub overlapping: usize,
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

#[derive(Clone, Copy, Debug)]
struct Run {
    start: Entry,
    end: Option<Millis>,
    ack: Option<Millis>,
}

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
    let (runs, ends) = read(journal);
    let mut findings = Findings {
        faults: counts(&facts.windows),
        ..Findings::default()
    };
    for kind in facts.dead.values() {
        *findings.dead.entry(kind.to_string()).or_default() += 1;
    }
    let mut wrong = Violations::default();
    for (id, sent) in &facts.ledger {
        let runs = runs.get(id).map_or(&[][..], Vec::as_slice);
        check_end(*id, *sent, runs, facts, &mut findings, &mut wrong);
        check_runs(*id, *sent, runs, facts, &mut findings, &mut wrong);
    }
    findings.recovered_after_ms = recoveries(&runs, facts);
    findings.resumed_after_ms = resumptions(&ends, facts);
    ensure!(
        wrong.count == 0,
        "{} violations, the first are:\n{}\n{findings:#?}",
        wrong.count,
        wrong.shown.join("\n")
    );
    Ok(findings)
}

/// The runs of each task in the order of their starts, and the instants of all ends.
fn read(journal: &Journal) -> (HashMap<TaskId, Vec<Run>>, Vec<Millis>) {
    let (mut runs, mut ends) = (HashMap::<TaskId, Vec<Run>>::new(), Vec::new());
    journal.each(|entry| {
        let of_task = runs.entry(entry.id).or_default();
        if entry.event == Event::Start {
            of_task.push(Run {
                start: entry,
                end: None,
                ack: None,
            });
            return;
        }
        let same = |run: &&mut Run| run.start.fence == entry.fence && run.start.pid == entry.pid;
        // What was acknowledged without a start had expired, or was given back.
        let Some(run) = of_task.iter_mut().rev().find(same) else {
            return;
        };
        match entry.event {
            Event::End => {
                run.end = Some(entry.at);
                ends.push(entry.at);
            }
            Event::Ack => run.ack = Some(entry.at),
            Event::Start | Event::Cancelled => {}
        }
    });
    for of_task in runs.values_mut() {
        of_task.sort_by_key(|run| (run.start.at, run.start.fence));
    }
    ends.sort_unstable();
    (runs, ends)
}

fn check_end(
    id: TaskId,
    sent: Sent,
    runs: &[Run],
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    let ended = runs.iter().any(|run| run.end.is_some());
    let dead = facts.dead.contains_key(&id);
    findings.runs += runs.len();
    findings.acknowledged += runs.iter().filter(|run| run.ack.is_some()).count();
    match sent.answer {
        Answer::Accepted => {
            findings.accepted += 1;
            findings.at_most_once += usize::from(sent.kind == Kind::Once);
            if !ended && !dead {
                wrong.add(|| format!("lost: {id} {sent:?}, its runs: {runs:?}"));
            }
        }
        Answer::Unknown => {
            findings.unknown.0 += 1;
            findings.unknown.1 += usize::from(ended || dead);
        }
        Answer::Refused => {
            findings.refused += 1;
            if !runs.is_empty() || dead {
                wrong.add(|| format!("refused, and stored all the same: {id} {sent:?} {runs:?}"));
            }
        }
    }
}

fn check_runs(
    id: TaskId,
    sent: Sent,
    runs: &[Run],
    facts: &Facts,
    findings: &mut Findings,
    wrong: &mut Violations,
) {
    if let Some(first) = runs.first()
        && first.start.at < sent.not_before
    {
        wrong.add(|| format!("too early: {id} {sent:?} {first:?}"));
    }
    for pair in runs.windows(2) {
        let [first, second] = pair else { continue };
        if second.start.fence <= first.start.fence {
            wrong.add(|| format!("the fence of {id} did not grow: {first:?} {second:?}"));
        }
        // Only a verdict that was taken counts an attempt, whether or not its worker heard of it.
        if first.start.attempt + 1 == second.start.attempt {
            continue;
        }
        let Some(reason) = explain(sent, first, second, facts) else {
            wrong.add(|| format!("{id} ran again for no reason: {sent:?} {first:?} {second:?}"));
            continue;
        };
        *findings.repeated.entry(reason).or_default() += 1;
        if sent.kind == Kind::Once && reason != Reason::FailOver {
            wrong.add(|| format!("{id} may run at most once: {first:?} {second:?}"));
        }
        let overlaps = first.end.is_some_and(|end| second.start.at < end);
        let lease_ended = matches!(
            reason,
            Reason::WorkerFrozen | Reason::WorkerCutOff | Reason::StoreAway | Reason::FailOver
        );
        findings.overlapping += usize::from(overlaps);
        if overlaps && !lease_ended {
            wrong.add(|| format!("{id} ran twice at the same time: {first:?} {second:?}"));
        }
    }
}

/// The fault that explains why a task ran again, if there is one.
fn explain(sent: Sent, first: &Run, second: &Run, facts: &Facts) -> Option<Reason> {
    let (pid, began, again) = (first.start.pid, first.start.at, second.start.at);
    let between = |window: &&Window| began <= window.to && window.from <= again;
    let here = |window: &&Window| between(window) && window.touches(pid);
    let any = |what: &[What], long: bool| {
        let mut windows = facts.windows.iter().filter(here);
        windows.any(|window| {
            what.contains(&window.what)
                && (!long || facts.lease.mul_f64(LEASE_PART) <= window.span())
        })
    };
    let producer_in_doubt = || {
        let doubtful = [
            What::Producer,
            What::Restart,
            What::Stall,
            What::Nuisance,
            What::HandOver,
            What::FailOver,
            What::Reshard,
        ];
        facts.windows.iter().any(|window| {
            doubtful.contains(&window.what)
                && sent.began <= window.to
                && window.from <= sent.answered
        })
    };
    // What was acknowledged is gone: only a lost write, or another send of it, brings it back.
    let acknowledged = first.ack.is_some();
    if any(&[What::FailOver], false) {
        Some(Reason::FailOver)
    } else if !acknowledged && any(&[What::Kill], false) {
        Some(Reason::WorkerKilled)
    } else if !acknowledged && any(&[What::Stop], false) {
        Some(Reason::WorkerStopped)
    } else if !acknowledged && any(&[What::Freeze], true) {
        Some(Reason::WorkerFrozen)
    } else if !acknowledged && any(&[What::Cut, What::Silence], true) {
        Some(Reason::WorkerCutOff)
    } else if !acknowledged && any(&[What::Restart, What::Stall, What::HandOver], true) {
        Some(Reason::StoreAway)
    } else if second.start.attempt == 1 && producer_in_doubt() {
        // The second copy may have been lost with a worker before it ran.
        Some(Reason::SentAgain)
    } else {
        None
    }
}

/// For each kill that hit runs: how long until the last of them ran again.
fn recoveries(runs: &HashMap<TaskId, Vec<Run>>, facts: &Facts) -> Vec<u64> {
    let kills: HashMap<u32, Millis> = facts
        .windows
        .iter()
        .filter(|window| window.what == What::Kill)
        .flat_map(|window| {
            let pids = window.pids.iter().flatten();
            pids.map(|pid| (*pid, window.from))
        })
        .collect();
    let mut last = HashMap::<u32, Duration>::new();
    for pair in runs.values().flat_map(|runs| runs.windows(2)) {
        let [first, second] = pair else { continue };
        let pid = first.start.pid;
        let Some(killed_at) = kills.get(&pid).filter(|_| first.end.is_none()) else {
            continue;
        };
        let span = second.start.at.since(*killed_at);
        let longest = last.entry(pid).or_default();
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
