//! Enqueue: nowhere -> ready or scheduled.

use std::cmp::Reverse;
use std::collections::HashSet;

use bytes::Bytes;
use lovage_core::envelope::{HEADER_BYTES, edit};
use lovage_core::{BATCH_MAX, EnqueueError, Enqueued, Millis, QueueName, TaskId, TransportError};

use crate::queue::{Queue, Spot};

impl Queue {
    /// Stores the tasks whose ids are new, or none at all.
    pub(crate) fn enqueue(
        &mut self,
        name: &QueueName,
        tasks: &[(TaskId, Bytes)],
        now: Millis,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        if BATCH_MAX < tasks.len() {
            return Err(EnqueueError::BatchTooLarge { count: tasks.len() });
        }
        if let Some((id, bytes)) = tasks.iter().find(|(_, bytes)| bytes.len() < HEADER_BYTES) {
            let reason = format!(
                "the envelope of {id} has {} bytes, fewer than its fixed part",
                bytes.len()
            );
            return Err(EnqueueError::Refused(TransportError::new(reason)));
        }
        let answers = self.tell_new_from_known(tasks);
        self.check_bound(name, &answers)?;
        for ((id, bytes), answer) in tasks.iter().zip(&answers) {
            if *answer == Enqueued::New {
                self.place(*id, bytes, now);
            }
        }
        Ok(answers)
    }

    fn tell_new_from_known(&self, tasks: &[(TaskId, Bytes)]) -> Vec<Enqueued> {
        let mut seen: HashSet<TaskId> = HashSet::with_capacity(tasks.len());
        tasks
            .iter()
            .map(|(id, _)| {
                if !self.tasks.contains_key(id) && seen.insert(*id) {
                    Enqueued::New
                } else {
                    Enqueued::Duplicate
                }
            })
            .collect()
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

    fn place(&mut self, id: TaskId, bytes: &Bytes, now: Millis) {
        let bytes = edit::pin(bytes, now);
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
        self.admit(id, bytes, spot);
    }
}
