//! Cancels, revivals and ends.

use lovage_core::{Event as Move, LOSSES_MAX, Millis, Place, Revived, TaskId, Until};

use super::{Books, Checked, refuse};
use crate::history::Event;

impl Books<'_> {
    pub(super) fn taken(&mut self, id: TaskId, place: Place, event: &Event) -> Checked {
        let now = event.now;
        let early = self.is_early(id);
        let task = self.tasks.get_mut(&id).ok_or("it was never stored")?;
        let Some((by, _)) = task.held.filter(|_| task.place == Place::Active) else {
            return Err("recovery took it, and nobody held it".into());
        };
        let lease = self.leases.get(&by).copied().unwrap_or_default();
        if lease.lasts(event) {
            return Err(format!(
                "recovery took it from {by}, whose lease lasts until {}",
                lease.until
            ));
        }
        task.losses += 1;
        if task.cancelled {
            self.end(id, "cancelled", Move::Cancel, now)?;
        } else if early || LOSSES_MAX <= task.losses {
            self.end(id, "failed", Move::Bury, now)?;
        } else {
            task.go(Move::Recover)?;
        }
        let task = self.task(id)?;
        if task.place == place {
            return Ok(());
        }
        Err(format!(
            "recovery has made it {place:?}, it should be {:?} after {} losses",
            task.place, task.losses
        ))
    }

    pub(super) fn cancelled(&mut self, id: TaskId, place: Place) -> Checked {
        let task = self.task(id)?;
        refuse(
            (task.place == Place::Active) != (place == Place::Active),
            "cancelled as if it were elsewhere",
        )?;
        if place == Place::Active {
            task.cancelled = true;
            return Ok(());
        }
        let taken = task.taken;
        if let Some(lock) = self.lock_of(id).filter(|_| !taken) {
            self.keys(id).let_go_of_any(id, lock);
        }
        self.end(id, "cancelled", Move::Cancel, Millis::default())
    }

    pub(super) fn revived(&mut self, id: TaskId, revived: Revived, event: &Event) -> Checked {
        let now = event.now;
        let is_dead = self
            .tasks
            .get(&id)
            .is_some_and(|task| task.place == Place::Dead);
        // One that held its key for a span does without.
        let lock = self
            .lock_of(id)
            .filter(|lock| !matches!(lock.until, Until::Elapsed(_)));
        let holder = match lock {
            Some(lock) if is_dead => self.keys(id).holder(lock.key, now),
            _ => None,
        };
        let expected = match holder {
            _ if !is_dead => Revived::NotDead,
            Some(held) => Revived::Held(held.id),
            None => Revived::Ready,
        };
        if revived != expected {
            return Err(format!("revived: {revived:?}, it should be {expected:?}"));
        }
        if revived != Revived::Ready {
            return Ok(());
        }
        if let Some(lock) = lock {
            self.keys(id).hold(id, lock, now, None, now);
        }
        self.owing.remove(&id);
        let task = self.task(id)?;
        (task.attempts, task.losses, task.snoozes) = (0, 0, 0);
        task.begun_again = 0;
        (task.due, task.since) = (now, event.at);
        task.go(Move::Revive)
    }

    /// A task's stay ends.
    pub(super) fn end(
        &mut self,
        id: TaskId,
        how: &'static str,
        step: Move,
        now: Millis,
    ) -> Checked {
        let task = self.task(id)?;
        task.ends.insert(how);
        task.cancelled = false;
        task.go(step)?;
        self.owing.remove(&id);
        let message = self.message_of(id);
        if step == Move::Bury && message.is_some_and(|message| message.on_failure.is_some()) {
            self.owing.insert(id, now);
        }
        if let Some(lock) = self.lock_of(id) {
            self.keys(id).let_go(id, lock);
        }
        Ok(())
    }
}
