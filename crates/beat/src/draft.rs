//! Makes the changes of a plan: what the broker is to store, and batches of it within the broker's bounds.

use std::time::Duration;

use lovage_core::{Amendment, BATCH_MAX, Change, EncodeError, Encoded, Millis, StoredSchedule};

use crate::firing::{Fate, Firing};
use crate::plan::{self, FIRE_MAX, Plan, Previous};
use crate::state::Record;

/// The most bytes in one call, unless a single schedule needs more.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most bytes of tasks that one plan fires, unless a single task is larger.
const FIRE_BYTES_MAX: usize = 1024 * 1024;

/// A change that a leader would make, with what it needs when the answer comes.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What was read.
    pub(crate) stored: StoredSchedule,
    /// The change.
    pub(crate) amendment: Amendment,
    /// Occurrences that are skipped, as far as they were counted.
    pub(crate) skipped: u64,
    /// How late its first due occurrence was.
    pub(crate) behind: Duration,
    /// What is written; `None` where only the instant of the next look is moved.
    pub(crate) record: Option<Record>,
}

impl Draft {
    /// The change that fires and skips what is due of `record` at `now`.
    pub(crate) fn of(
        stored: StoredSchedule,
        mut record: Record,
        now: Millis,
        previous: Previous,
    ) -> Result<Self, EncodeError> {
        let due = record.state.next.filter(|_| record.state.paused.is_none());
        let behind = due.map_or(Duration::ZERO, |next| {
            now.since(plan::fires_at(&record.entry, next))
        });
        let task_bytes = record.entry.template.args.len() + 512;
        let fire_max = (FIRE_BYTES_MAX / task_bytes).clamp(1, FIRE_MAX);
        let plan = plan::plan(&record.entry, &record.state, now, previous, fire_max);
        let Plan {
            state,
            fire,
            firings,
            wake,
        } = plan;
        let queue = &record.entry.template.queue;
        let task = |shot: &plan::Shot| {
            let encoded = record.entry.task(shot.id, shot.occurrence, now)?;
            Ok((queue.clone(), encoded))
        };
        let sends = fire.iter().map(task).collect::<Result<_, EncodeError>>()?;
        record.state = state;
        let amendment = Amendment {
            name: stored.name.clone(),
            expected: Some(stored.version),
            change: Change::Store {
                record: record.encode()?,
                wake,
            },
            sends,
            firings: firings.iter().map(Firing::encode).collect(),
        };
        Ok(Self {
            stored,
            amendment,
            skipped: firings.iter().map(skipped).sum(),
            behind,
            record: Some(record),
        })
    }

    /// The change that only looks again at `wake`.
    pub(crate) fn looking_again(stored: StoredSchedule, wake: Millis) -> Self {
        let amendment = Amendment {
            name: stored.name.clone(),
            expected: Some(stored.version),
            change: Change::Store {
                record: stored.record.clone(),
                wake: Some(wake),
            },
            sends: Vec::new(),
            firings: Vec::new(),
        };
        Self {
            stored,
            amendment,
            skipped: 0,
            behind: Duration::ZERO,
            record: None,
        }
    }

    /// When a leader looks at it next.
    pub(crate) fn wake(&self) -> Option<Millis> {
        match &self.amendment.change {
            Change::Store { wake, .. } => *wake,
            Change::Remove => None,
        }
    }
}

fn skipped(firing: &Firing) -> u64 {
    match firing.fate {
        Fate::Skipped(_) => firing.count.unwrap_or(0),
        _ => 0,
    }
}

/// How much one call has of everything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    amendments: usize,
    sends: usize,
    firings: usize,
    bytes: usize,
}

impl Load {
    /// Adds a change unless it would be too much. The first one always fits.
    pub(crate) fn add(&mut self, amendment: &Amendment) -> bool {
        let record = match &amendment.change {
            Change::Store { record, .. } => record.len(),
            Change::Remove => 0,
        };
        let tasks = amendment.sends.iter().map(|(_, task)| size(task));
        let firings = amendment.firings.iter().map(bytes::Bytes::len);
        let with = Self {
            amendments: self.amendments + 1,
            sends: self.sends + amendment.sends.len(),
            firings: self.firings + amendment.firings.len(),
            bytes: self.bytes + record + tasks.sum::<usize>() + firings.sum::<usize>(),
        };
        let fits = with.amendments <= BATCH_MAX
            && with.sends <= BATCH_MAX
            && with.firings <= BATCH_MAX
            && with.bytes <= BATCH_BYTES_MAX;
        let is_first = self.amendments == 0;
        if fits || is_first {
            *self = with;
        }
        fits || is_first
    }
}

fn size(task: &Encoded) -> usize {
    task.bytes().len()
}

/// Splits changes into calls, in their order; none makes no call.
pub(crate) fn batches<T>(changes: Vec<T>, amendment: impl Fn(&T) -> &Amendment) -> Vec<Vec<T>> {
    let mut batches = vec![Vec::new()];
    let mut load = Load::default();
    for change in changes {
        if !load.add(amendment(&change)) {
            load = Load::default();
            load.add(amendment(&change));
            batches.push(Vec::new());
        }
        let batch = batches.last_mut().expect("there is one from the start");
        batch.push(change);
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}
