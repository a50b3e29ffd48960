//! What was accepted against what ran: the checker of the long runs with many faults.

use std::collections::{BTreeMap, BTreeSet};

use lovage_core::{Millis, TaskId};

use crate::journal::{Entry, Event};

/// A worker process that the test killed.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// The process.
    pub pid: u32,
    /// When it was killed, by this host's clock.
    pub at: Millis,
}

/// Everything that a run has seen.
#[derive(Debug, Default)]
pub struct History {
    /// The ids whose send answered `Ok`.
    pub accepted: BTreeSet<TaskId>,
    /// What the workers wrote.
    pub entries: Vec<Entry>,
    /// The ids that are dead letters at the end.
    pub dead: BTreeSet<TaskId>,
    /// The kills.
    pub kills: Vec<Kill>,
}

/// What a correct history amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Starts beyond the first of a task.
    pub duplicates: usize,
    /// Ends beyond the first of a task.
    pub repeated_ends: usize,
}

impl History {
    /// Holds that no accepted task is lost, and that every further run of a task is explained by a kill.
    ///
    /// # Panics
    /// With the first violation.
    pub fn check(&self) -> Report {
        let runs = self.runs();
        for id in &self.accepted {
            let ended = runs
                .get(id)
                .is_some_and(|entries| entries.iter().any(|entry| entry.event == Event::End));
            assert!(
                ended || self.dead.contains(id),
                "lost: {id} was accepted, {} of {} ended; its entries: {:?}",
                runs.len(),
                self.accepted.len(),
                runs.get(id),
            );
        }
        let mut report = Report {
            duplicates: 0,
            repeated_ends: 0,
        };
        for (id, entries) in &runs {
            self.check_runs(*id, entries);
            let count = |event| entries.iter().filter(|entry| entry.event == event).count();
            report.duplicates += count(Event::Start).saturating_sub(1);
            report.repeated_ends += count(Event::End).saturating_sub(1);
        }
        report
    }

    fn check_runs(&self, id: TaskId, entries: &[Entry]) {
        let starts: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.event == Event::Start)
            .collect();
        for pair in starts.windows(2) {
            let [first, second] = pair else { continue };
            let killed = self.kills.iter().find(|kill| kill.pid == first.pid);
            assert!(
                killed.is_some_and(|kill| kill.at <= second.at),
                "{id} ran again though nobody killed its first worker: {first:?}, {second:?}"
            );
            assert!(
                first.fence < second.fence,
                "{id}: the fence did not grow: {first:?}, {second:?}"
            );
        }
    }

    fn runs(&self) -> BTreeMap<TaskId, Vec<Entry>> {
        let mut runs: BTreeMap<TaskId, Vec<Entry>> = BTreeMap::new();
        for entry in &self.entries {
            runs.entry(entry.id).or_default().push(*entry);
        }
        runs
    }
}
