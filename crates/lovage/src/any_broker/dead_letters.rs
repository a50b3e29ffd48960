//! Looking after the dead letters, workers and losses of whatever broker is there.

use std::time::Duration;

use lovage_core::{
    BrokerError, DeadLetter, DeadLetters, DeadLettersSummary, Encoded, KnownWorker, Looked, Loss,
    Millis, Purged, QueueName, Reports, Revived, TaskId,
};

use super::AnyBroker;

impl DeadLetters for AnyBroker {
    async fn dead_letter(
        &self,
        queue: &QueueName,
        id: TaskId,
    ) -> Result<Option<DeadLetter>, BrokerError> {
        each!(self, broker => broker.dead_letter(queue, id).await)
    }

    async fn revive_many(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> Result<Vec<Revived>, BrokerError> {
        each!(self, broker => broker.revive_many(queue, ids).await)
    }

    async fn revive_edited(
        &self,
        queue: &QueueName,
        died_at: Millis,
        task: Encoded,
    ) -> Result<Revived, BrokerError> {
        each!(self, broker => broker.revive_edited(queue, died_at, task).await)
    }

    async fn purge(&self, queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<bool>, BrokerError> {
        each!(self, broker => broker.purge(queue, ids).await)
    }

    async fn purge_older(&self, queue: &QueueName, age: Duration) -> Result<Purged, BrokerError> {
        each!(self, broker => broker.purge_older(queue, age).await)
    }

    async fn dead_letters_summary(
        &self,
        queue: &QueueName,
    ) -> Result<DeadLettersSummary, BrokerError> {
        each!(self, broker => broker.dead_letters_summary(queue).await)
    }
}

impl Reports for AnyBroker {
    async fn losses(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Loss>, BrokerError> {
        each!(self, broker => broker.losses(queue, offset, limit).await)
    }

    async fn workers(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Looked<Vec<KnownWorker>>, BrokerError> {
        each!(self, broker => broker.workers(queue, offset, limit).await)
    }
}
