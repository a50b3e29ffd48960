//! Revive: dead -> ready or scheduled.

use bytes::Bytes;
use lovage_core::envelope::edit;
use lovage_core::{Encoded, Lock, Millis, Revived, TaskId};

use crate::queue::{Queue, Spot, Task};

impl Queue {
    /// Makes a dead letter ready again as if it had never run, unless another task holds its key.
    pub(crate) fn revive(&mut self, id: TaskId, now: Millis) -> Revived {
        let is_dead = |task: &&Task| matches!(task.spot, Spot::Dead(..));
        let Some(task) = self.tasks.get(&id).filter(is_dead) else {
            return Revived::NotDead;
        };
        let (bytes, lock) = (task.bytes.clone(), task.lock);
        self.revive_as(id, &bytes, lock, None, now)
    }

    /// Gives the letter that died at `died_at` another envelope and revives it.
    pub(crate) fn revive_edited(
        &mut self,
        died_at: Millis,
        envelope: &Encoded,
        now: Millis,
    ) -> Revived {
        let id = envelope.id();
        let is_it = |task: &Task| matches!(task.spot, Spot::Dead(died, _) if died == died_at);
        if !self.tasks.get(&id).is_some_and(is_it) {
            return Revived::NotDead;
        }
        let bytes = edit::pin(envelope.bytes(), now);
        let due = edit::due(&bytes).filter(|due| now < *due);
        self.revive_as(id, &bytes, envelope.unique().copied(), due, now)
    }

    /// Ready, or scheduled where it is to be due later.
    fn revive_as(
        &mut self,
        id: TaskId,
        bytes: &Bytes,
        lock: Option<Lock>,
        due: Option<Millis>,
        now: Millis,
    ) -> Revived {
        if let Some(holder) = self.hold_anew(id, lock, due.unwrap_or(now), now) {
            return Revived::Held(holder);
        }
        let task = self.tasks.get_mut(&id).expect("it is dead");
        task.bytes = edit::reset_attempts(bytes);
        task.lock = lock;
        task.losses = 0;
        task.snoozes = 0;
        task.parked = None;
        if let Some(due) = due {
            self.schedule(id, due);
        } else {
            let place = self.tail();
            self.make_ready(id, place);
        }
        Revived::Ready
    }
}
