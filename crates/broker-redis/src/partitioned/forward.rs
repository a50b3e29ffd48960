//! Forwards: each task of an outbox to its partition.
//!
//! A partition keeps the highest number that it has seen of its own tasks. Those of one partition leave the outbox in
//! its order as all do, so a number below that mark has been stored there, whatever became of the others.

use futures_util::future::join_all;
use lovage_core::{BATCH_MAX, EnqueueError, Forwarded, Outgoing, QueueName, TransportError};

use super::ANEW_MAX;
use super::enqueue::none_stored;
use crate::broker::Shared;
use crate::divisions::{Part, part_of};
use crate::transitions::{self, Answer};

pub(crate) async fn forward(
    shared: &Shared,
    queue: &QueueName,
    outgoing: Vec<Outgoing>,
) -> Result<Forwarded, EnqueueError> {
    if BATCH_MAX < outgoing.len() {
        return Err(EnqueueError::BatchTooLarge {
            count: outgoing.len(),
        });
    }
    let mut total = Forwarded::default();
    let mut left = outgoing;
    for _ in 0..ANEW_MAX {
        let parts = match shared.divisions.several(queue) {
            Some(parts) => parts,
            None => [Part::whole(queue)].into(),
        };
        let mut by_part: Vec<Vec<Outgoing>> = vec![Vec::new(); parts.len()];
        for task in left {
            by_part[part_of(&parts, task.id)].push(task);
        }
        let calls = parts.iter().zip(by_part).filter(|(_, own)| !own.is_empty());
        let calls = calls.map(|(part, own)| async move {
            let stored = transitions::forward(shared, part, own.clone()).await;
            (own, stored)
        });
        left = Vec::new();
        let mut failed = None;
        for (own, stored) in join_all(calls).await {
            match stored {
                Ok(Answer::Here(stored)) => {
                    total.stored += stored.stored;
                    total.known += stored.known;
                }
                Ok(Answer::Moved(division)) => match shared.told(queue, division).await {
                    Ok(_) => left.extend(own),
                    Err(error) => failed = Some(none_stored(error)),
                },
                Err(error) => failed = Some(in_queue(error, queue)),
            }
        }
        // What the others have stored is known to them when it is done again.
        if let Some(error) = failed {
            return Err(error);
        }
        if left.is_empty() {
            return Ok(total);
        }
    }
    Err(EnqueueError::Refused(TransportError::new(format!(
        "queue {queue} is divided in another way each time that it is asked"
    ))))
}

fn in_queue(error: EnqueueError, queue: &QueueName) -> EnqueueError {
    match error {
        EnqueueError::QueueFull { len, bound, .. } => EnqueueError::QueueFull {
            queue: queue.clone(),
            len,
            bound,
        },
        other => other,
    }
}
