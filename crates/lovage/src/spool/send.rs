//! The way of a send through a client with a spool.

use lovage_core::{Durability, Encoded, EnqueueError, QueueName, TransportError};
use tokio::time::{Instant, timeout_at};

use super::{AppendError, Entry, Spool};
use crate::client::Client;
use crate::deliver::{Batch, Manner};
use crate::error::SendError;

impl Client {
    /// Sends a batch to the broker, and keeps here what it does not take now.
    ///
    /// A single attempt, with half of the time: the other half is for the disk. What is refused until somebody acts, a
    /// full queue, and at-most-once tasks whose answer is missing, are the caller's to know of.
    pub(crate) async fn deliver_or_spool(
        &self,
        spool: &Spool,
        queue: &QueueName,
        batch: &mut Batch,
        manner: Manner,
        task: &'static str,
    ) {
        let (wanted, ends) = (self.wanted(manner), self.ends(manner));
        let mut doubt = None;
        if !spool.keeper.waits_in(queue) {
            let now = Instant::now();
            let half = now + ends.saturating_duration_since(now) / 2;
            let sent = self.attempt_in_line(queue, batch, wanted, half).await;
            let (Err(error), Some(first)) = (sent, batch.left.first()) else {
                return;
            };
            match SendError::from_enqueue(error, first.id(), task) {
                SendError::Refused(_) => {}
                error @ SendError::Unknown { .. }
                    if batch.left.iter().all(Encoded::may_be_repeated) =>
                {
                    doubt = Some(error);
                }
                other => {
                    batch.sent.end = Err(other);
                    return;
                }
            }
        }
        let Some(first) = batch.left.first().map(Encoded::id) else {
            return;
        };
        let now = self.now();
        let entries = batch.left.iter().map(|task| Entry::new(task, wanted, now));
        let spooled = spool.keeper.append(queue, entries.collect());
        let spooled = timeout_at(ends, spooled).await;
        let spooled = spooled.unwrap_or_else(|_| {
            let late = "the disk did not answer within the deadline";
            Err(AppendError::Unknown(TransportError::new(late)))
        });
        batch.sent.end = match (spooled, doubt) {
            (Ok(()), _) => {
                let spooled = batch.left.drain(..).map(|task| task.id());
                batch.sent.spooled.extend(spooled);
                return;
            }
            // Without the spool the broker may have it all the same.
            (Err(_), Some(doubt)) => Err(doubt),
            (Err(AppendError::Unknown(source)), None) => {
                Err(SendError::Unknown { id: first, source })
            }
            (
                Err(AppendError::Full {
                    stats,
                    tasks_max,
                    bytes_max,
                }),
                None,
            ) => Err(SendError::SpoolFull {
                tasks: stats.tasks + stats.aside,
                tasks_max,
                bytes: stats.bytes + stats.aside_bytes,
                bytes_max,
            }),
        };
    }

    /// A lone task goes together with whoever else sends to this queue.
    async fn attempt_in_line(
        &self,
        queue: &QueueName,
        batch: &mut Batch,
        wanted: Durability,
        deadline: Instant,
    ) -> Result<(), EnqueueError> {
        let [one] = batch.left.as_slice() else {
            return self.attempt(queue, batch, wanted, deadline).await;
        };
        let line = self.0.lines.line(self.broker(), queue, wanted);
        let receipt = line.send(one.clone(), deadline).await?;
        self.take(queue, batch, vec![Some(receipt)], wanted).await;
        Ok(())
    }
}
