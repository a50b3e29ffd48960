//! Callbacks: who is to be called since a task has failed for good, and that it was.

use std::time::Duration;

use lovage_core::{Millis, Owed, TaskId};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Shows up to `max` dead tasks that owe a callback, and shows them to nobody else for `patience`.
    pub(crate) fn owed(&mut self, max: usize, patience: Duration, now: Millis) -> Vec<Owed> {
        let mut since: Vec<(Millis, TaskId)> =
            self.owed.iter().map(|(id, at)| (*at, *id)).collect();
        since.retain(|(at, _)| *at <= now);
        since.sort_unstable();
        let shown = since.into_iter().take(max);
        shown
            .filter_map(|(_, id)| {
                // One that runs again, or was taken away, has not failed for good.
                self.owed.remove(&id);
                let letter = self.dead_letter(id)?;
                self.owed.insert(id, now.plus(patience));
                let losses = self.tasks[&id].losses;
                Some(Owed { letter, losses })
            })
            .collect()
    }

    /// Notes that they were called back for these deaths.
    pub(crate) fn called_back(&mut self, deaths: &[(TaskId, Millis)]) {
        for (id, death) in deaths {
            let spot = self.tasks.get(id).map(|task| &task.spot);
            if matches!(spot, Some(Spot::Dead(died_at, _)) if died_at == death) {
                self.owed.remove(id);
            }
        }
    }
}
