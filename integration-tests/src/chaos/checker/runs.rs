//! The runs of each task, read from the journal.

use std::collections::HashMap;

use lovage_core::{Millis, TaskId};

use crate::chaos::ledger::Sent;
use crate::journal::{Entry, Event, Taken};

/// One handing-out of a task whose body began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) start: Entry,
    /// When the body was over, by itself.
    pub(super) over: Option<Millis>,
    /// Whether it has done its work by then.
    pub(super) ended: bool,
    /// The verdict that the broker has taken, and when its worker heard so.
    pub(super) ack: Option<(Taken, Millis)>,
}

impl Run {
    /// When it was acknowledged as done.
    pub(super) fn done_at(&self) -> Option<Millis> {
        let done = self.ack.filter(|(taken, _)| *taken == Taken::Done);
        done.map(|(_, at)| at)
    }
}

/// One task, with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) id: TaskId,
    pub(super) sent: Sent,
    /// In the order of their starts.
    pub(super) runs: &'a [Run],
}

/// All runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_task: HashMap<TaskId, Vec<Run>>,
    /// The instants of all ends, sorted.
    pub(super) ends: Vec<Millis>,
    /// Verdicts on tasks whose body had not begun, but for those that gave them back.
    pub(super) unfounded: Vec<Entry>,
}

impl Runs {
    /// Reads what `each` hands over.
    pub(super) fn read(each: impl FnOnce(&mut dyn FnMut(Entry))) -> Self {
        let mut runs = Self::default();
        each(&mut |entry| runs.add(entry));
        for of_task in runs.by_task.values_mut() {
            of_task.sort_by_key(|run| (run.start.at, run.start.fence));
        }
        runs.ends.sort_unstable();
        runs
    }

    fn add(&mut self, entry: Entry) {
        let of_task = self.by_task.entry(entry.id).or_default();
        if entry.event == Event::Start {
            of_task.push(Run {
                start: entry,
                over: None,
                ended: false,
                ack: None,
            });
            return;
        }
        let same =
            |run: &&mut Run| run.start.fence == entry.fence && run.start.worker == entry.worker;
        let Some(run) = of_task.iter_mut().rev().find(same) else {
            if entry.event != Event::Ack(Taken::Release) {
                self.unfounded.push(entry);
            }
            if of_task.is_empty() {
                self.by_task.remove(&entry.id);
            }
            return;
        };
        match entry.event {
            Event::End => {
                (run.over, run.ended) = (Some(entry.at), true);
                self.ends.push(entry.at);
            }
            Event::Failed | Event::Cancelled => run.over = Some(entry.at),
            Event::Ack(taken) => run.ack = Some((taken, entry.at)),
            Event::Start => {}
        }
    }

    /// Those of one task, in the order of their starts.
    pub(super) fn of(&self, id: TaskId) -> &[Run] {
        self.by_task.get(&id).map_or(&[], Vec::as_slice)
    }

    /// All of a task that was sent.
    pub(super) fn case(&self, id: TaskId, sent: Sent) -> Case<'_> {
        let runs = self.of(id);
        Case { id, sent, runs }
    }

    /// Those of all tasks.
    pub(super) fn all(&self) -> impl Iterator<Item = (TaskId, &[Run])> {
        let all = self.by_task.iter();
        all.map(|(id, runs)| (*id, runs.as_slice()))
    }
}
