//! Looking after dead letters, wired to its transitions.

use std::time::Duration;

use lovage_core::{
    BrokerError, DeadLetter, DeadLetters, DeadLettersSummary, Encoded, Millis, Purged, QueueName,
    TaskId,
};

use crate::broker::RedisBroker;
use crate::transitions;

impl DeadLetters for RedisBroker {
    async fn dead_letter(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> Result<Option<DeadLetter>, BrokerError> {
        transitions::dead_letter(&self.shared, queue, id).await
    }

    async fn revive_many(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> Result<Vec<bool>, BrokerError> {
        transitions::revive(&self.shared, queue, &ids).await
    }

    async fn revive_edited(
        &self,
        queue: &QueueName,
        died_at: Millis,
        task: Encoded,
    ) -> Result<bool, BrokerError> {
        transitions::revive_edited(&self.shared, queue, died_at, &task).await
    }

    async fn purge(&self, queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<bool>, BrokerError> {
        transitions::purge(&self.shared, queue, &ids).await
    }

    async fn purge_older(&self, queue: &QueueName, age: Duration) -> Result<Purged, BrokerError> {
        transitions::purge_older(&self.shared, queue, age).await
    }

    async fn dead_letters_summary(
        &self,
        queue: &QueueName,
    ) -> Result<DeadLettersSummary, BrokerError> {
        transitions::dead_letters_summary(&self.shared, queue).await
    }
}
