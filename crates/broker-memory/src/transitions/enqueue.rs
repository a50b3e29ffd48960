//! Enqueue: nowhere -> ready or scheduled.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use lovage_core::envelope::{HEADER_BYTES, edit};
use lovage_core::{
    BATCH_MAX, Conflict, EnqueueError, Enqueued, Lock, LockKey, Millis, QueueName, Remembered,
    TaskId, TransportError,
};

use crate::queue::{Queue, Spot};

/// A task as it comes in.
pub(crate) struct Incoming {
    pub(crate) id: TaskId,
    pub(crate) bytes: Bytes,
    pub(crate) unique: Option<Lock>,
    pub(crate) remembered: Option<Remembered>,
}

/// What comes before in the call that is looked at.
#[derive(Default)]
struct Before {
    answers: HashMap<TaskId, Enqueued>,
    /// Who holds a key by it.
    taken: HashMap<LockKey, TaskId>,
    /// What a send became by it.
    sent: HashMap<TaskId, TaskId>,
}

impl Queue {
    /// Stores the tasks whose ids are new and whose keys are free, or none at all.
    pub(crate) fn enqueue(
        &mut self,
        name: &QueueName,
        tasks: &[Incoming],
        now: Millis,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        if BATCH_MAX < tasks.len() {
            return Err(EnqueueError::BatchTooLarge { count: tasks.len() });
        }
        if let Some(task) = tasks.iter().find(|task| task.bytes.len() < HEADER_BYTES) {
            let reason = format!(
                "the envelope of {} has {} bytes, fewer than its fixed part",
                task.id,
                task.bytes.len()
            );
            return Err(EnqueueError::Refused(TransportError::new(reason)));
        }
        let answers = self.tell_new_from_known(tasks, now);
        self.check_bound(name, &answers)?;
        self.store(tasks, &answers, now);
        // Of an id that stands in the call twice the first counts.
        let mut seen = HashSet::with_capacity(tasks.len());
        for (task, answer) in tasks.iter().zip(&answers) {
            if seen.insert(task.id)
                && let Some(Remembered { send, span }) = task.remembered
                && self.locks.sent_as(send, now).is_none()
            {
                let became = answer.id(task.id);
                self.locks.remember(send, became, now.plus(span), now);
            }
        }
        Ok(answers)
    }

    /// Stores what is new, then moves what was there before, each once, to where its last envelope belongs.
    fn store(&mut self, tasks: &[Incoming], answers: &[Enqueued], now: Millis) {
        let is_new = |id| {
            tasks
                .iter()
                .zip(answers)
                .any(|(task, answer)| task.id == id && *answer == Enqueued::New)
        };
        let mut moved: Vec<(TaskId, Bytes, Lock)> = Vec::new();
        for (task, answer) in tasks.iter().zip(answers) {
            match (*answer, task.unique) {
                (Enqueued::New, _) => self.place(task, now),
                (Enqueued::Replaced(id), Some(lock)) => {
                    let bytes = self.take_over(id, task, &lock, now);
                    if is_new(id) {
                        self.take_place(id, bytes, lock, now);
                    } else if let Some(earlier) = moved.iter_mut().find(|(other, ..)| *other == id)
                    {
                        *earlier = (id, bytes, lock);
                    } else {
                        moved.push((id, bytes, lock));
                    }
                }
                _ => {}
            }
        }
        for (id, bytes, lock) in moved {
            self.take_place(id, bytes, lock, now);
        }
    }

    fn tell_new_from_known(&self, tasks: &[Incoming], now: Millis) -> Vec<Enqueued> {
        let mut before = Before::default();
        tasks
            .iter()
            .map(|task| {
                if let Some(answer) = before.answers.get(&task.id) {
                    return answer.again();
                }
                let answer = self.answer(task, &mut before, now);
                before.answers.insert(task.id, answer);
                if let Some(remembered) = task.remembered {
                    before
                        .sent
                        .entry(remembered.send)
                        .or_insert(answer.id(task.id));
                }
                answer
            })
            .collect()
    }

    fn answer(&self, task: &Incoming, before: &mut Before, now: Millis) -> Enqueued {
        let became = |Remembered { send, .. }| {
            let earlier = before.sent.get(&send).copied();
            earlier.or_else(|| self.locks.sent_as(send, now))
        };
        if let Some(became) = task.remembered.and_then(became) {
            return if became == task.id {
                Enqueued::Duplicate
            } else {
                Enqueued::Existing(became)
            };
        }
        if self.tasks.contains_key(&task.id) {
            return Enqueued::Duplicate;
        }
        let Some(lock) = &task.unique else {
            return Enqueued::New;
        };
        let (holder, waits) = match (before.taken.get(&lock.key), self.holder(lock.key, now)) {
            (Some(id), _) => (*id, true),
            (None, Some(held)) => (held.id, self.waits(held.id, lock.key)),
            (None, None) => {
                before.taken.insert(lock.key, task.id);
                return Enqueued::New;
            }
        };
        if holder == task.id {
            // A repeated send, whose task has run within its span.
            return Enqueued::Duplicate;
        }
        if waits && lock.conflict != Conflict::Reject {
            Enqueued::Replaced(holder)
        } else {
            Enqueued::Existing(holder)
        }
    }

    fn check_bound(&self, name: &QueueName, answers: &[Enqueued]) -> Result<(), EnqueueError> {
        let new = answers.iter().filter(|a| **a == Enqueued::New).count() as u64;
        let len = self.tasks.len() as u64;
        match self.bound {
            // Sending again what is there already takes no room, so it is answered even beyond the bound.
            Some(bound) if 0 < new && bound < len + new => Err(EnqueueError::QueueFull {
                queue: name.clone(),
                len,
                bound,
            }),
            _ => Ok(()),
        }
    }

    fn place(&mut self, task: &Incoming, now: Millis) {
        let mut bytes = edit::pin(&task.bytes, now);
        if let Some(lock) = &task.unique {
            let limit = lock.wait_max().map(|span| now.plus(span));
            bytes = no_later_than(bytes, limit);
            self.hold(task.id, lock, due(&bytes, now), limit, now);
        }
        let spot = match edit::due(&bytes) {
            Some(due) if now < due => {
                self.ring_if_nearer(due);
                Spot::Scheduled(due)
            }
            _ => {
                self.bell.notify_one();
                Spot::Ready((Reverse(edit::priority(&bytes)), self.tail()))
            }
        };
        self.admit(task.id, bytes, spot);
    }

    /// Lets what was sent hold the key under the id of the task that holds it; answers its envelope.
    fn take_over(&mut self, id: TaskId, task: &Incoming, lock: &Lock, now: Millis) -> Bytes {
        let limit = self.holder(lock.key, now).and_then(|held| held.limit);
        let pinned = edit::with_id(&edit::pin(&task.bytes, now), id);
        let bytes = no_later_than(pinned, limit);
        self.hold(id, lock, due(&bytes, now), limit, now);
        bytes
    }

    /// Puts an envelope in the place of that of a task which waits.
    fn take_place(&mut self, id: TaskId, bytes: Bytes, lock: Lock, now: Millis) {
        let start = edit::due(&bytes).filter(|start| now < *start);
        let stored = self.tasks.get_mut(&id).expect("it waits");
        let same_level = edit::priority(&stored.bytes) == edit::priority(&bytes);
        stored.bytes = bytes;
        stored.losses = 0;
        stored.snoozes = 0;
        stored.parked = None;
        stored.lock = Some(lock);
        stored.taken = false;
        match (stored.spot.clone(), start) {
            (Spot::Scheduled(present), Some(due)) if present == due => {}
            (_, Some(due)) => self.schedule(id, due),
            (Spot::Ready(_), None) if same_level => {}
            (_, None) => {
                let place = self.tail();
                self.make_ready(id, place);
            }
        }
    }
}

fn due(bytes: &Bytes, now: Millis) -> Millis {
    edit::due(bytes).map_or(now, |due| due.max(now))
}

fn no_later_than(bytes: Bytes, limit: Option<Millis>) -> Bytes {
    match (edit::due(&bytes), limit) {
        (Some(start), Some(limit)) if limit < start => edit::with_start(&bytes, limit),
        _ => bytes,
    }
}
