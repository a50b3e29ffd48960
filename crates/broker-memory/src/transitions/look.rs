//! Looking: changes nothing.

use lovage_core::{Counts, DeadLetter, Fence, Place, Scheduled, TaskId, WorkerId};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Where a task is.
    pub(crate) fn place_of(&self, id: TaskId) -> Place {
        match self.tasks.get(&id).map(|task| &task.spot) {
            Some(Spot::Ready(_)) => Place::Ready,
            Some(Spot::Scheduled(_)) => Place::Scheduled,
            Some(Spot::Active(..)) => Place::Active,
            Some(Spot::Dead(..)) => Place::Dead,
            None => Place::Gone,
        }
    }

    /// How many tasks are in each place.
    pub(crate) fn counts(&self) -> Counts {
        let active: usize = self.members.values().map(|m| m.active.len()).sum();
        Counts {
            ready: self.ready.len() as u64,
            scheduled: self.scheduled.len() as u64,
            active: active as u64,
            dead: self.dead.len() as u64,
        }
    }

    /// What a worker holds.
    pub(crate) fn holdings(&self, worker: WorkerId) -> Vec<(TaskId, Fence)> {
        let held = self.members.get(&worker).map(|member| &member.active);
        held.into_iter()
            .flatten()
            .map(|(id, fence)| (*id, *fence))
            .collect()
    }

    /// A page of the scheduled tasks.
    pub(crate) fn scheduled(&self, offset: usize, limit: usize) -> Vec<Scheduled> {
        self.scheduled
            .iter()
            .skip(offset)
            .take(limit)
            .map(|&(due, id)| Scheduled {
                id,
                due,
                bytes: self.tasks[&id].bytes.clone(),
            })
            .collect()
    }

    /// A page of the dead letters.
    pub(crate) fn dead_letters(&self, offset: usize, limit: usize) -> Vec<DeadLetter> {
        self.dead
            .iter()
            .skip(offset)
            .take(limit)
            .filter_map(|(_, id)| self.dead_letter(*id))
            .collect()
    }
}
