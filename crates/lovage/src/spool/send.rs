//! The way of a send through a client with a spool.

use lovage_core::{Encoded, QueueName, TransportError};
use tokio::time::{Instant, timeout_at};

use super::{AppendError, Entry, Spool};
use crate::client::Client;
use crate::deliver::{Kept, Manner, confirmed};
use crate::error::SendError;
use crate::gather::{Receipt, call};

impl Client {
    /// Sends tasks to the broker, or keeps them here where it does not take them now.
    ///
    /// A single attempt, with half of the time: the other half is for the disk. What is refused until somebody acts, a
    /// full queue, and at-most-once tasks whose answer is missing, are the caller's to know of.
    pub(crate) async fn deliver_or_spool(
        &self,
        spool: &Spool,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        manner: Manner,
        task: &'static str,
    ) -> Result<Kept, SendError> {
        let Some(first) = tasks.first() else {
            return Ok(Kept::ByBroker);
        };
        let (id, wanted, ends) = (first.id(), self.wanted(manner), self.ends(manner));
        let mut doubt = None;
        if !spool.keeper.waits_in(queue) {
            let now = Instant::now();
            let half = now + ends.saturating_duration_since(now) / 2;
            let sent = match tasks.as_slice() {
                [one] => {
                    let line = self.0.lines.line(self.broker(), queue, wanted);
                    line.send(one.clone(), half)
                        .await
                        .map(|receipt| vec![receipt])
                }
                _ => call(self.broker(), queue, tasks.clone(), wanted, half).await,
            };
            let error = match sent {
                Ok(receipts) => {
                    self.accepted(queue, &tasks, &receipts).await;
                    let short = |receipt: &&Receipt| !receipt.by.meets(&wanted);
                    let short = receipts.iter().find(short);
                    return short.map_or(Ok(Kept::ByBroker), |receipt| {
                        confirmed(receipt, wanted, id).map(|()| Kept::ByBroker)
                    });
                }
                Err(error) => SendError::from_enqueue(error, id, task),
            };
            match error {
                SendError::Refused(_) => {}
                SendError::Unknown { .. } if !tasks.iter().any(Encoded::acks_early) => {
                    doubt = Some(error);
                }
                other => return Err(other),
            }
        }
        let now = self.now();
        let entries = tasks.iter().map(|task| Entry::new(task, wanted, now));
        let kept = spool.keeper.append(queue, entries.collect());
        let kept = timeout_at(ends, kept).await;
        let kept = kept.unwrap_or_else(|_| {
            let late = "the disk did not answer within the deadline";
            Err(AppendError::Unknown(TransportError::new(late)))
        });
        match (kept, doubt) {
            (Ok(()), _) => Ok(Kept::Locally),
            // Without the spool the broker may have it all the same.
            (Err(_), Some(doubt)) => Err(doubt),
            (Err(AppendError::Unknown(source)), None) => Err(SendError::Unknown { id, source }),
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
                bytes: stats.bytes,
                bytes_max,
            }),
        }
    }
}
