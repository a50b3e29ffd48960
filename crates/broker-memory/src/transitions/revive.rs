//! Revive: dead -> ready.

use lovage_core::TaskId;
use lovage_core::envelope::edit;

use crate::queue::{Queue, Spot};

impl Queue {
    /// Makes a dead letter ready again as if it had never run; `false` if `id` is none.
    pub(crate) fn revive(&mut self, id: TaskId) -> bool {
        match self.tasks.get_mut(&id) {
            Some(task) if matches!(task.spot, Spot::Dead(..)) => {
                task.bytes = edit::reset_attempts(&task.bytes);
                task.losses = 0;
                task.snoozes = 0;
                task.parked = None;
            }
            _ => return false,
        }
        let place = self.tail();
        self.make_ready(id, place);
        true
    }
}
