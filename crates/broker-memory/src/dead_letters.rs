//! Looking after dead letters.

use std::time::Duration;

use lovage_core::{
    BrokerError, DeadLetter, DeadLetters, DeadLettersSummary, Encoded, Millis, Purged, QueueName,
    Revived, TaskId,
};

use crate::broker::{MemoryBroker, check_batch};

impl DeadLetters for MemoryBroker {
    async fn dead_letter(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> Result<Option<DeadLetter>, BrokerError> {
        Ok(self.with(queue, |data, _| data.dead_letter(id)))
    }

    async fn revive_many(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> Result<Vec<Revived>, BrokerError> {
        check_batch("ids", ids.len())?;
        Ok(self.with(queue, |data, now| {
            ids.into_iter().map(|id| data.revive(id, now)).collect()
        }))
    }

    async fn revive_edited(
        &self,
        queue: &QueueName,
        died_at: Millis,
        task: Encoded,
    ) -> Result<Revived, BrokerError> {
        Ok(self.with(queue, |data, now| data.revive_edited(died_at, &task, now)))
    }

    async fn purge(&self, queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<bool>, BrokerError> {
        check_batch("ids", ids.len())?;
        Ok(self.with(queue, |data, _| {
            ids.into_iter().map(|id| data.purge(id)).collect()
        }))
    }

    async fn purge_older(&self, queue: &QueueName, age: Duration) -> Result<Purged, BrokerError> {
        Ok(self.with(queue, |data, now| data.purge_older(age, now)))
    }

    async fn dead_letters_summary(
        &self,
        queue: &QueueName,
    ) -> Result<DeadLettersSummary, BrokerError> {
        Ok(self.with(queue, |data, now| data.dead_letters_summary(now)))
    }
}
