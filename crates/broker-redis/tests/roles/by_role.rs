//! A broker each of whose verbs is called by the user of the role that it belongs to.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_redis::RedisBroker;
use lovage_core::*;

/// The same data, as four users see it.
#[derive(Clone)]
pub(crate) struct ByRole {
    pub(crate) producer: RedisBroker,
    pub(crate) worker: RedisBroker,
    pub(crate) beat: RedisBroker,
    pub(crate) operator: RedisBroker,
}

macro_rules! by_role {
    ($(impl $trait:ident { $($role:ident: fn $verb:ident($($arg:ident: $type:ty),*) -> $answer:ty;)* $(={ $($more:item)* })? })*) => {
        $(impl $trait for ByRole {
            $(async fn $verb(&self $(, $arg: $type)*) -> $answer {
                self.$role.$verb($($arg),*).await
            })*
            $($($more)*)?
        })*
    };
}

by_role! {
    impl Broker {
        producer: fn enqueue(queue: &QueueName, tasks: Vec<Encoded>) -> Result<Vec<Enqueued>, EnqueueError>;
        worker: fn claim(worker: WorkerId, queue: &QueueName, max: NonZeroU16) -> Result<Claim, BrokerError>;
        worker: fn settle(worker: WorkerId, queue: &QueueName, settlements: Vec<Settlement>) -> Result<Settled, BrokerError>;
        worker: fn wait(queue: &QueueName, at_most: Duration) -> Result<(), BrokerError>;
        worker: fn renew(worker: WorkerId, queue: &QueueName, lease: Duration) -> Result<Renewal, BrokerError>;
        worker: fn recover(queue: &QueueName, patience: Duration) -> Result<Recovered, BrokerError>;
    }
    impl Results {
        producer: fn outcome(queue: &QueueName, id: TaskId, at_most: Duration) -> Result<Awaited, BrokerError>;
    }
    impl Control {
        producer: fn cancel(queue: &QueueName, id: TaskId) -> Result<Cancelled, BrokerError>;
        operator: fn revive(queue: &QueueName, id: TaskId) -> Result<Revived, BrokerError>;
        producer: fn reschedule(queue: &QueueName, id: TaskId, when: When) -> Result<Rescheduled, BrokerError>;
        operator: fn bound(queue: &QueueName, tasks_max: Option<u64>) -> Result<(), BrokerError>;
    }
    impl Inspect {
        producer: fn state(queue: &QueueName, id: TaskId) -> Result<Place, BrokerError>;
        operator: fn counts(queue: &QueueName) -> Result<Counts, BrokerError>;
        operator: fn scheduled(queue: &QueueName, offset: usize, limit: usize) -> Result<Vec<Scheduled>, BrokerError>;
        operator: fn dead_letters(queue: &QueueName, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, BrokerError>;
    }
    impl Partitioning {
        operator: fn partition(queue: &QueueName, partitions: Partitions) -> Result<Partitioned, BrokerError>;
        operator: fn partitions(queue: &QueueName) -> Result<Partitions, BrokerError>;
    }
    impl Reports {
        operator: fn losses(queue: &QueueName, offset: usize, limit: usize) -> Result<Vec<Loss>, BrokerError>;
        operator: fn workers(queue: &QueueName, offset: usize, limit: usize) -> Result<Looked<Vec<KnownWorker>>, BrokerError>;
    }
    impl Membership {
        worker: fn register(worker: WorkerId, queue: &QueueName, lease: Duration) -> Result<(), BrokerError>;
        worker: fn holdings(worker: WorkerId, queue: &QueueName) -> Result<Vec<(TaskId, Fence)>, BrokerError>;
        worker: fn retire(worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError>;
        worker: fn report(worker: WorkerId, queue: &QueueName, report: Bytes) -> Result<bool, BrokerError>;
        worker: fn retain(queue: &QueueName, retention: Retention) -> Result<(), BrokerError>;
        ={
            async fn separate(&self) -> Result<Self, BrokerError> {
                let worker = self.worker.separate().await?;
                Ok(Self { worker, ..self.clone() })
            }
        }
    }
    impl DeadLetters {
        operator: fn dead_letter(queue: &QueueName, id: TaskId) -> Result<Option<DeadLetter>, BrokerError>;
        operator: fn revive_many(queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<Revived>, BrokerError>;
        operator: fn revive_edited(queue: &QueueName, died_at: Millis, task: Encoded) -> Result<Revived, BrokerError>;
        operator: fn purge(queue: &QueueName, ids: Vec<TaskId>) -> Result<Vec<bool>, BrokerError>;
        operator: fn purge_older(queue: &QueueName, age: Duration) -> Result<Purged, BrokerError>;
        operator: fn dead_letters_summary(queue: &QueueName) -> Result<DeadLettersSummary, BrokerError>;
    }
    impl Durable {
        producer: fn enqueue_confirmed(queue: &QueueName, tasks: Vec<Encoded>, wanted: Durability) -> Result<Confirmed, EnqueueError>;
    }
    impl Callbacks {
        worker: fn owed(queue: &QueueName, max: NonZeroU16, patience: Duration) -> Result<Vec<Owed>, BrokerError>;
        worker: fn called_back(queue: &QueueName, deaths: Vec<(TaskId, Millis)>) -> Result<(), BrokerError>;
    }
    impl Checkup {
        operator: fn stored(from: StoredFrom) -> Result<StoredPage, BrokerError>;
        operator: fn shelf(queue: &QueueName, shelf: Shelf, from: u64) -> Result<ShelfPage<TaskId>, BrokerError>;
        operator: fn census(queue: &QueueName, ids: &[TaskId], unlisted: &[WorkerId], seek: bool) -> Result<Vec<Census>, BrokerError>;
        operator: fn repair(queue: &QueueName, census: &Census, unlisted: &[WorkerId], repairs: &[Repair]) -> Result<bool, BrokerError>;
        operator: fn wrong_types(queue: &QueueName) -> Result<Vec<String>, BrokerError>;
        operator: fn books(queue: &QueueName, unlisted: &[WorkerId], mode: CheckMode) -> Result<Books, BrokerError>;
        operator: fn orphans(queue: &QueueName, workers: &[WorkerId], mode: CheckMode) -> Result<Vec<WorkerId>, BrokerError>;
        operator: fn lasting(queue: &QueueName, of: Passing, ids: &[TaskId], mode: CheckMode) -> Result<Vec<TaskId>, BrokerError>;
        operator: fn locks(queue: &QueueName, keys: &[LockKey], tasks: &[TaskId], mode: CheckMode) -> Result<Vec<Finding>, BrokerError>;
        operator: fn agenda_shelf(shelf: AgendaShelf, from: u64) -> Result<ShelfPage<Bytes>, BrokerError>;
        operator: fn agenda(of: Agenda, names: &[Bytes], mode: CheckMode) -> Result<Vec<Finding>, BrokerError>;
        operator: fn servers() -> Result<Vec<ServerLook>, BrokerError>;
    }
    impl Schedules {
        beat: fn lead(beat: BeatId, lease: Duration, max: NonZeroU16) -> Result<Lead, BrokerError>;
        beat: fn resign(beat: BeatId) -> Result<(), BrokerError>;
        operator: fn schedule(name: &ScheduleName) -> Result<Looked<Option<StoredSchedule>>, BrokerError>;
        operator: fn schedules(after: Option<&ScheduleName>, limit: usize) -> Result<Looked<Vec<StoredSchedule>>, BrokerError>;
        operator: fn firings(name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError>;
        operator: fn leader() -> Result<Option<Leader>, BrokerError>;
        beat: fn outbox(queue: &QueueName, max: NonZeroU16) -> Result<Vec<Outgoing>, BrokerError>;
        beat: fn forward(queue: &QueueName, outgoing: Vec<Outgoing>) -> Result<Forwarded, EnqueueError>;
        beat: fn forwarded(queue: &QueueName, up_to: u64) -> Result<bool, BrokerError>;
        beat: fn await_turn(role: BeatRole, at_most: Duration) -> Result<(), BrokerError>;
        ={
            /// Leaders name their epoch, whoever changes schedules besides does not.
            async fn amend(&self, epoch: Option<u64>, amendments: Vec<Amendment>) -> Result<Vec<Amended>, BrokerError> {
                let broker = if epoch.is_some() { &self.beat } else { &self.operator };
                broker.amend(epoch, amendments).await
            }
        }
    }
}
