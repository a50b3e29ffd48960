//! Reschedule: scheduled -> scheduled, for another time.

use lovage_core::{Millis, Rescheduled, TaskId, When};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Lets a scheduled task be due at another time.
    pub(crate) fn reschedule(&mut self, id: TaskId, when: When, now: Millis) -> Rescheduled {
        let Some(Spot::Scheduled(present)) = self.tasks.get(&id).map(|task| &task.spot) else {
            return Rescheduled::NotScheduled;
        };
        let due = match when {
            When::In(span) => now.plus(span),
            When::At(instant) => instant.max(now),
        };
        if due != *present {
            self.schedule(id, due);
        }
        Rescheduled::Moved(due)
    }
}
