//! Cancel: ready, scheduled or dead -> gone; active -> marked.

use lovage_core::{Cancelled, Millis, TaskId};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Takes a task back, or marks it so that it ends with its present run.
    pub(crate) fn cancel(&mut self, id: TaskId, now: Millis) -> Cancelled {
        let Some(task) = self.tasks.get_mut(&id) else {
            return Cancelled::Unknown;
        };
        if matches!(task.spot, Spot::Active(..)) {
            task.cancelled = true;
            return Cancelled::Marked;
        }
        if let (Some(lock), false) = (task.lock, task.taken) {
            self.let_go_of_any(id, &lock);
        }
        self.finish_cancelled(id, now);
        Cancelled::Removed
    }
}
