//! Sends: what the queue must answer, and what it stores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lovage_core::{Conflict, Enqueued, Envelope, Lock, Millis, Place, QueueName, TaskId, hours};

use super::{Books, Checked, Keys, Task, at, due, waiting};
use crate::history::Event;

/// How long a queue knows the callback of a death as the same (docs/guarantees.md, 24).
const CALLBACK_REMEMBERED: Duration = hours(1);

impl<'a> Books<'a> {
    /// The message that a task has; those of schedules and callbacks have no options.
    pub(super) fn message(&self, sent: TaskId) -> Option<&'a Envelope> {
        self.jobs.get(&sent).map(|job| &job.envelope)
    }

    /// How long a send is known as the same, whatever has become of its task.
    fn remembered(&self, sent: TaskId) -> Option<Duration> {
        match self.message(sent) {
            Some(message) => message.remembered,
            None => self.is_call(sent).then_some(CALLBACK_REMEMBERED),
        }
    }

    pub(super) fn message_of(&self, id: TaskId) -> Option<&'a Envelope> {
        self.message(self.tasks.get(&id)?.sent)
    }

    pub(super) fn lock_of(&self, id: TaskId) -> Option<&'a Lock> {
        self.message_of(id)?.unique.as_ref()
    }

    pub(super) fn keys(&mut self, id: TaskId) -> &mut Keys {
        let queue = self.tasks[&id].queue.clone();
        self.keys.entry(queue).or_default()
    }

    pub(super) fn task(&mut self, id: TaskId) -> Result<&mut Task, String> {
        self.tasks
            .get_mut(&id)
            .ok_or_else(|| "it was never stored".into())
    }

    /// What the broker must answer to a send.
    pub(super) fn expected(&self, queue: &QueueName, sent: TaskId, now: Millis) -> Enqueued {
        let (message, keys) = (self.message(sent), self.keys.get(queue));
        if self.remembered(sent).is_some()
            && let Some(became) = keys.and_then(|keys| keys.sent_as(sent, now))
        {
            return if became == sent {
                Enqueued::Duplicate
            } else {
                Enqueued::Existing(became)
            };
        }
        if self
            .tasks
            .get(&sent)
            .is_some_and(|task| task.place != Place::Gone)
        {
            return Enqueued::Duplicate;
        }
        let Some(lock) = message.and_then(|message| message.unique) else {
            return Enqueued::New;
        };
        let Some(held) = keys.and_then(|keys| keys.holder(lock.key, now)) else {
            return Enqueued::New;
        };
        let waits = self.tasks.get(&held.id).is_some_and(|task| {
            let theirs = self.lock_of(held.id);
            theirs.is_some_and(|theirs| theirs.key == lock.key)
                && matches!(task.place, Place::Ready | Place::Scheduled)
        });
        if held.id == sent {
            Enqueued::Duplicate
        } else if waits && lock.conflict != Conflict::Reject {
            Enqueued::Replaced(held.id)
        } else {
            Enqueued::Existing(held.id)
        }
    }

    /// What was sent is stored, or answered otherwise.
    pub(super) fn answered(
        &mut self,
        queue: &QueueName,
        sent: TaskId,
        answer: Enqueued,
        event: &Event,
    ) -> Checked {
        let expected = self.expected(queue, sent, event.now);
        if answer != expected {
            return Err(match (answer, expected) {
                (Enqueued::New, Enqueued::Existing(id) | Enqueued::Replaced(id)) => {
                    format!(
                        "stored while {id} holds its key, or is what its idempotency key stands for"
                    )
                }
                (Enqueued::New, _) => {
                    "stored a second time, while it lives or is remembered".into()
                }
                (Enqueued::Existing(id) | Enqueued::Replaced(id), Enqueued::New) => {
                    format!("not stored, as {id} holds its key: that is free")
                }
                _ => format!("answered {answer:?}, it should be {expected:?}"),
            });
        }
        match answer {
            Enqueued::New => self.stored(queue, sent, event),
            Enqueued::Replaced(id) => self.replaced(id, sent, event),
            Enqueued::Duplicate | Enqueued::Existing(_) => {}
        }
        if let Some(span) = self.remembered(sent) {
            let keys = self.keys.entry(queue.clone()).or_default();
            keys.remember(sent, answer.id(sent), event.now.plus(span), event.now);
        }
        Ok(())
    }

    pub(super) fn stored(&mut self, queue: &QueueName, id: TaskId, event: &Event) {
        let message = self.message(id);
        let limit = message
            .and_then(|message| message.unique?.wait_max())
            .map(|span| event.now.plus(span));
        let due = due(message, limit, event.now);
        let mut task = Task {
            queue: queue.clone(),
            sent: id,
            place: waiting(due, event.now),
            due,
            since: event.at,
            expires: message
                .and_then(|m| m.expires)
                .map(|when| at(when, event.now)),
            held: None,
            claimed: None,
            cancelled: false,
            taken: false,
            attempts: 0,
            losses: 0,
            snoozes: 0,
            handed: BTreeMap::new(),
            begun: BTreeSet::new(),
            begun_again: 0,
            running: BTreeMap::new(),
            ran: BTreeMap::new(),
            ends: BTreeSet::new(),
            fence_max: 0,
        };
        if let Some(before) = self.tasks.remove(&id) {
            // A second copy of a send: what still runs of the first counts.
            task.running = before.running;
            task.fence_max = before.fence_max;
            task.begun = before.begun;
            task.begun_again = before.begun_again;
            task.handed = before.handed;
            task.ends = before.ends;
        }
        self.tasks.insert(id, task);
        if let Some(lock) = self.lock_of(id) {
            self.keys(id).hold(id, lock, due, limit, event.now);
        }
        if let Some((.., stored)) = self.calls.get_mut(&id) {
            *stored = true;
        }
    }

    /// A message takes the place of the one that the task `id` has.
    pub(super) fn replaced(&mut self, id: TaskId, sent: TaskId, event: &Event) {
        let now = event.now;
        let message = self.message(sent);
        let lock = message.and_then(|message| message.unique.as_ref());
        let lock = lock.expect("only unique tasks are replaced");
        let limit = self
            .keys(id)
            .holder(lock.key, now)
            .and_then(|held| held.limit);
        let due = due(message, limit, now);
        let task = self.tasks.get_mut(&id).expect("it waits");
        task.sent = sent;
        task.place = waiting(due, now);
        (task.due, task.since) = (due, event.at);
        task.expires = message.and_then(|m| m.expires).map(|when| at(when, now));
        task.taken = false;
        (task.attempts, task.losses, task.snoozes) = (0, 0, 0);
        task.begun_again = 0;
        self.keys(id).hold(id, lock, due, limit, now);
    }
}
