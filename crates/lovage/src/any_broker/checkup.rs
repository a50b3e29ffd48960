//! Looking whether all is in order in whatever broker is there.

use bytes::Bytes;
use lovage_core::{
    Agenda, AgendaShelf, Books, BrokerError, Census, CheckMode, Checkup, Finding, LockKey, Passing,
    QueueName, Repair, ServerLook, Shelf, ShelfPage, StoredFrom, StoredPage, TaskId, WorkerId,
};

use super::AnyBroker;

impl Checkup for AnyBroker {
    async fn stored(&self, from: StoredFrom) -> Result<StoredPage, BrokerError> {
        each!(self, broker => broker.stored(from).await)
    }

    async fn shelf(
        &self,
        queue: &QueueName,
        part: Shelf,
        from: u64,
    ) -> Result<ShelfPage<TaskId>, BrokerError> {
        each!(self, broker => broker.shelf(queue, part, from).await)
    }

    async fn census(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        unlisted: &[WorkerId],
        seek: bool,
    ) -> Result<Vec<Census>, BrokerError> {
        each!(self, broker => broker.census(queue, ids, unlisted, seek).await)
    }

    async fn repair(
        &self,
        queue: &QueueName,
        census: &Census,
        unlisted: &[WorkerId],
        repairs: &[Repair],
    ) -> Result<bool, BrokerError> {
        each!(self, broker => broker.repair(queue, census, unlisted, repairs).await)
    }

    async fn wrong_types(&self, queue: &QueueName) -> Result<Vec<String>, BrokerError> {
        each!(self, broker => broker.wrong_types(queue).await)
    }

    async fn books(
        &self,
        queue: &QueueName,
        unlisted: &[WorkerId],
        mode: CheckMode,
    ) -> Result<Books, BrokerError> {
        each!(self, broker => broker.books(queue, unlisted, mode).await)
    }

    async fn orphans(
        &self,
        queue: &QueueName,
        workers: &[WorkerId],
        mode: CheckMode,
    ) -> Result<Vec<WorkerId>, BrokerError> {
        each!(self, broker => broker.orphans(queue, workers, mode).await)
    }

    async fn lasting(
        &self,
        queue: &QueueName,
        of: Passing,
        ids: &[TaskId],
        mode: CheckMode,
    ) -> Result<Vec<TaskId>, BrokerError> {
        each!(self, broker => broker.lasting(queue, of, ids, mode).await)
    }

    async fn locks(
        &self,
        queue: &QueueName,
        keys: &[LockKey],
        tasks: &[TaskId],
        mode: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        each!(self, broker => broker.locks(queue, keys, tasks, mode).await)
    }

    async fn agenda_shelf(
        &self,
        part: AgendaShelf,
        from: u64,
    ) -> Result<ShelfPage<Bytes>, BrokerError> {
        each!(self, broker => broker.agenda_shelf(part, from).await)
    }

    async fn agenda(
        &self,
        of: Agenda,
        names: &[Bytes],
        mode: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        each!(self, broker => broker.agenda(of, names, mode).await)
    }

    async fn servers(&self) -> Result<Vec<ServerLook>, BrokerError> {
        each!(self, broker => broker.servers().await)
    }
}
