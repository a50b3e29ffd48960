//! Sends: each task to its partition.

use futures_util::future::join_all;
use lovage_core::{
    BATCH_MAX, BrokerError, Confirmation, Confirmed, Durability, Encoded, EnqueueError, Enqueued,
    QueueName, TransportError,
};

use super::ANEW_MAX;
use crate::broker::Shared;
use crate::divisions::{Part, part_of};
use crate::transitions::{self, Answer};

pub(crate) async fn enqueue(
    shared: &Shared,
    queue: &QueueName,
    tasks: Vec<Encoded>,
    wanted: Durability,
) -> Result<Confirmed, EnqueueError> {
    if shared.divisions.several(queue).is_none() {
        match transitions::enqueue(shared, &Part::whole(queue), &tasks, wanted).await? {
            Answer::Here(answers) => return Ok(answers),
            Answer::Moved(division) => shared.told(queue, division).await.map_err(none_stored)?,
        };
    }
    to_parts(shared, queue, tasks, wanted).await
}

async fn to_parts(
    shared: &Shared,
    queue: &QueueName,
    tasks: Vec<Encoded>,
    wanted: Durability,
) -> Result<Confirmed, EnqueueError> {
    if BATCH_MAX < tasks.len() {
        return Err(EnqueueError::BatchTooLarge { count: tasks.len() });
    }
    let mut sending = Sending {
        queue,
        wanted,
        answers: vec![None; tasks.len()],
        by: None,
        error: None,
    };
    let mut left: Vec<usize> = (0..tasks.len()).collect();
    for _ in 0..ANEW_MAX {
        left = sending.send(shared, &tasks, left).await;
        if left.is_empty() {
            return sending.end();
        }
    }
    sending.failed(EnqueueError::Refused(TransportError::new(format!(
        "queue {queue} is divided in another way each time that it is asked"
    ))));
    sending.end()
}

/// Why tasks were not sent to their partitions, of which nobody knows now how many there are.
pub(super) fn none_stored(error: BrokerError) -> EnqueueError {
    match error {
        BrokerError::Unknown(source) => EnqueueError::Refused(source),
        other => other.into(),
    }
}

struct Sending<'a> {
    queue: &'a QueueName,
    wanted: Durability,
    /// What became of each task, as far as it is known.
    answers: Vec<Option<Enqueued>>,
    /// By whom all of those are held: the least that any partition has said.
    by: Option<Confirmation>,
    /// What holds of the others.
    error: Option<EnqueueError>,
}

impl Sending<'_> {
    /// Sends the tasks at these positions. Answers which of them are to be sent to another partition.
    async fn send(
        &mut self,
        shared: &Shared,
        tasks: &[Encoded],
        positions: Vec<usize>,
    ) -> Vec<usize> {
        let parts = match shared.divisions.several(self.queue) {
            Some(parts) => parts,
            None => [Part::whole(self.queue)].into(),
        };
        let mut by_part: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
        for position in positions {
            by_part[part_of(&parts, tasks[position].id())].push(position);
        }
        let calls = parts.iter().zip(by_part).filter(|(_, own)| !own.is_empty());
        let wanted = self.wanted;
        let calls = calls.map(|(part, own)| async move {
            let batch: Vec<_> = own
                .iter()
                .map(|position| tasks[*position].clone())
                .collect();
            let sent = transitions::enqueue(shared, part, &batch, wanted).await;
            (own, sent)
        });
        let mut moved = Vec::new();
        for (own, sent) in join_all(calls).await {
            match sent {
                Ok(Answer::Here(stored)) => {
                    for (position, answer) in own.into_iter().zip(stored.answers) {
                        self.answers[position] = Some(answer);
                    }
                    self.confirmed(stored.by);
                }
                Ok(Answer::Moved(division)) => match shared.told(self.queue, division).await {
                    Ok(_) => moved.extend(own),
                    Err(error) => self.failed(none_stored(error)),
                },
                Err(error) => self.failed(error),
            }
        }
        moved
    }

    fn confirmed(&mut self, by: Confirmation) {
        let least = self.by.unwrap_or(by);
        self.by = Some(Confirmation {
            replicas: least.replicas.min(by.replicas),
            fsynced: least.fsynced && by.fsynced,
        });
    }

    /// Notes why a partition did not take its tasks. That one may have is worse to be told of than that one has not.
    fn failed(&mut self, error: EnqueueError) {
        let error = match error {
            EnqueueError::QueueFull { len, bound, .. } => EnqueueError::QueueFull {
                queue: self.queue.clone(),
                len,
                bound,
            },
            other => other,
        };
        if self.error.is_none() || matches!(error, EnqueueError::Unknown(_)) {
            self.error = Some(error);
        }
    }

    fn end(self) -> Result<Confirmed, EnqueueError> {
        let by = self.by.unwrap_or_default();
        match self.error {
            None => Ok(Confirmed {
                answers: self.answers.into_iter().flatten().collect(),
                by,
            }),
            Some(error) if self.answers.iter().all(Option::is_none) => Err(error),
            Some(error) => Err(EnqueueError::InPart {
                answers: self.answers,
                by,
                error: Box::new(error),
            }),
        }
    }
}
