//! Looking after dead letters, wired to its transitions.

use std::time::Duration;

use lovage_core::{
    BrokerError, DeadLetter, DeadLetters, DeadLettersSummary, Encoded, Millis, Purged, QueueName,
    Revived, TaskId,
};

use crate::broker::RedisBroker;
use crate::partitioned::{self, by_id};
use crate::transitions;

impl DeadLetters for RedisBroker {
    async fn dead_letter(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> Result<Option<DeadLetter>, BrokerError> {
        by_id(&self.shared, queue, id, |name| async move {
            transitions::dead_letter(&self.shared, &name, id).await
        })
        .await
    }

    async fn revive_many(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> Result<Vec<Revived>, BrokerError> {
        partitioned::revive_many(&self.shared, queue, &ids).await
    }

    async fn revive_edited(
        &self,
        queue: &QueueName,
        died_at: Millis,
        task: Encoded,
    ) -> Result<Revived, BrokerError> {
        let task = &task;
        by_id(&self.shared, queue, task.id(), |name| async move {
            transitions::revive_edited(&self.shared, &name, died_at, task).await
        })
        .await
    }

    async fn purge(&self, queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<bool>, BrokerError> {
        partitioned::purge(&self.shared, queue, &ids).await
    }

    async fn purge_older(&self, queue: &QueueName, age: Duration) -> Result<Purged, BrokerError> {
        partitioned::purge_older(&self.shared, queue, age).await
    }

    async fn dead_letters_summary(
        &self,
        queue: &QueueName,
    ) -> Result<DeadLettersSummary, BrokerError> {
        partitioned::summary(&self.shared, queue).await
    }
}
