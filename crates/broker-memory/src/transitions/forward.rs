//! Forward: outbox -> ready or scheduled in its queue, once each.

use lovage_core::envelope::edit;
use lovage_core::{BATCH_MAX, EnqueueError, Enqueued, Forwarded, Millis, Outgoing, QueueName};

use crate::beat::Beat;
use crate::queue::Queue;
use crate::transitions::enqueue::Incoming;

impl Queue {
    /// Stores the tasks whose number is above the highest that was seen here, or none at all.
    pub(crate) fn forward(
        &mut self,
        name: &QueueName,
        outgoing: Vec<Outgoing>,
        now: Millis,
    ) -> Result<Forwarded, EnqueueError> {
        let count = outgoing.len();
        if BATCH_MAX < count {
            return Err(EnqueueError::BatchTooLarge { count });
        }
        let fresh: Vec<Outgoing> = outgoing
            .into_iter()
            .filter(|task| self.forwarded < task.number)
            .collect();
        let highest = fresh.iter().map(|task| task.number).max();
        let tasks: Vec<Incoming> = fresh
            .into_iter()
            .map(|task| Incoming {
                id: task.id,
                unique: edit::unique(&task.bytes),
                bytes: task.bytes,
                remembered: None,
            })
            .collect();
        let answers = self.enqueue(name, &tasks, now)?;
        self.forwarded = highest.unwrap_or(self.forwarded);
        let stored = answers.iter().filter(|a| **a == Enqueued::New).count();
        Ok(Forwarded {
            stored,
            known: count - stored,
        })
    }
}

impl Beat {
    /// The first tasks that wait for a queue.
    pub(crate) fn outbox(&self, queue: &QueueName, max: usize) -> Vec<Outgoing> {
        let waiting = self.outboxes.get(queue).into_iter().flatten();
        waiting.take(max).cloned().collect()
    }

    /// Drops what was forwarded to a queue, up to a number. Answers whether more waits.
    pub(crate) fn drop_forwarded(&mut self, queue: &QueueName, up_to: u64) -> bool {
        let Some(waiting) = self.outboxes.get_mut(queue) else {
            return false;
        };
        let count = waiting.partition_point(|task| task.number <= up_to);
        waiting.drain(..count);
        let more = !waiting.is_empty();
        if !more {
            self.outboxes.remove(queue);
        }
        more
    }
}
