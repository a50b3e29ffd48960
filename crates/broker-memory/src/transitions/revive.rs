//! Revive: dead -> ready.

use lovage_core::envelope::edit;
use lovage_core::{Millis, Revived, TaskId};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Makes a dead letter ready again as if it had never run, unless another task holds its key.
    pub(crate) fn revive(&mut self, id: TaskId, now: Millis) -> Revived {
        let Some(task) = self.tasks.get(&id) else {
            return Revived::NotDead;
        };
        if !matches!(task.spot, Spot::Dead(..)) {
            return Revived::NotDead;
        }
        if let Some(holder) = self.hold_again(id, now) {
            return Revived::Held(holder);
        }
        let task = self.tasks.get_mut(&id).expect("it is dead");
        task.bytes = edit::reset_attempts(&task.bytes);
        task.losses = 0;
        task.snoozes = 0;
        task.parked = None;
        let place = self.tail();
        self.make_ready(id, place);
        Revived::Ready
    }
}
