//! Amend: a schedule, its history and its outboxes -> as somebody who has read it says.

use lovage_core::{Amended, Amendment, Change, Millis, QueueName};

use crate::beat::Beat;

impl Beat {
    /// Makes one change, if the schedule is still what was read and no epoch behind `epoch` has begun.
    pub(crate) fn amend(
        &mut self,
        epoch: Option<u64>,
        amendment: Amendment,
        now: Millis,
    ) -> Amended {
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Amended::Deposed;
        }
        if self.version(&amendment.name) != amendment.expected {
            return Amended::Conflict;
        }
        if let Some(queue) = self.first_without_room(&amendment) {
            return Amended::OutboxFull(queue.clone());
        }
        let version = self.next_version(now);
        match amendment.change {
            Change::Store { record, wake } => {
                self.store(&amendment.name, version, record, wake, now);
                self.remember(&amendment.name, amendment.firings);
            }
            Change::Remove => self.remove(&amendment.name),
        }
        for (queue, task) in amendment.sends {
            self.put_out(&queue, task.id(), task.bytes().clone(), now);
        }
        Amended::Done(version)
    }

    fn first_without_room<'a>(&self, amendment: &'a Amendment) -> Option<&'a QueueName> {
        let queues = || amendment.sends.iter().map(|(queue, _)| queue);
        queues().find(|queue| self.room(queue) < queues().filter(|other| other == queue).count())
    }
}
