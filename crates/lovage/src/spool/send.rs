//! The way of a send through a client with a spool.

use lovage_core::{Encoded, QueueName, TransportError};
use tokio::time::{Instant, timeout_at};

use super::{AppendError, Entry, Spool};
use crate::client::Client;
use crate::deliver::{Kept, Manner, kept};
use crate::error::SendError;
use crate::gather::call;

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
            return Ok(Kept::ByBroker(Vec::new()));
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
                    return kept(&receipts, wanted, id);
                }
                Err(error) => SendError::from_enqueue(error, id, task),
            };
            match error {
                SendError::Refused(_) => {}
                SendError::Unknown { .. } if tasks.iter().all(Encoded::may_be_repeated) => {
                    doubt = Some(error);
                }
                other => return Err(other),
            }
        }
        let now = self.now();
        let entries = tasks.iter().map(|task| Entry::new(task, wanted, now));
        let spooled = spool.keeper.append(queue, entries.collect());
        let spooled = timeout_at(ends, spooled).await;
        let spooled = spooled.unwrap_or_else(|_| {
            let late = "the disk did not answer within the deadline";
            Err(AppendError::Unknown(TransportError::new(late)))
        });
        match (spooled, doubt) {
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
