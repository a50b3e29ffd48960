//! What the tests of this folder share.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Batch, Broker, BrokerError, Claim, Delivery, Encoded, EnqueueError, Enqueued, Envelope,
    Membership, Outcome, Priority, QueueName, Settlement, TaskId, TaskName, Verdict, WorkerId,
    mins, secs,
};
use lovage_test_redis::RedisServer;

/// Far longer than anything here takes.
pub(crate) const LIMIT: Duration = secs(30);
pub(crate) const LEASE: Duration = mins(10);

pub(crate) fn mail() -> QueueName {
    QueueName::parse("mail").unwrap()
}

pub(crate) fn envelope() -> Envelope {
    let task = TaskName::parse("send_receipt").unwrap();
    Envelope::new(TaskId::random(), task, mail(), Bytes::from_static(b"\x80"))
}

pub(crate) fn encoded(count: usize) -> Vec<Encoded> {
    (0..count).map(|_| envelope().encode().unwrap()).collect()
}

pub(crate) fn at_level(level: u8) -> Encoded {
    let mut envelope = envelope();
    envelope.priority = Priority::new(level);
    envelope.encode().unwrap()
}

pub(crate) async fn connect(server: &RedisServer) -> RedisBroker {
    RedisBroker::connect(&RedisConfig::new(server.url()))
        .await
        .unwrap()
}

pub(crate) async fn send(broker: &RedisBroker, count: usize) -> Vec<TaskId> {
    let tasks = encoded(count);
    let ids = tasks.iter().map(Encoded::id).collect();
    let answers = broker.enqueue(&mail(), tasks).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == Enqueued::New));
    ids
}

pub(crate) async fn worker(broker: &RedisBroker) -> WorkerId {
    let worker = WorkerId::random();
    broker.register(worker, &mail(), LEASE).await.unwrap();
    worker
}

pub(crate) fn at_most(max: u16) -> NonZeroU16 {
    NonZeroU16::new(max).unwrap()
}

pub(crate) async fn claim(broker: &RedisBroker, worker: WorkerId, max: u16) -> Vec<Delivery> {
    granted(broker.claim(worker, &mail(), at_most(max)).await.unwrap()).deliveries
}

pub(crate) fn granted(claim: Claim) -> Batch {
    match claim {
        Claim::Granted(batch) => batch,
        Claim::NoLease => panic!("the lease is good"),
    }
}

pub(crate) fn done(delivery: &Delivery) -> Settlement {
    Settlement {
        id: delivery.id,
        fence: delivery.fence,
        verdict: Verdict::Done {
            outcome: Outcome::Done(Bytes::new()),
            keep: None,
        },
    }
}

/// Fails with what was awaited instead of hanging.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("no {what} within {LIMIT:?}"))
}

/// Everything that the server holds, as `DUMP` has it.
pub(crate) async fn dump(server: &RedisServer) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for key in server.cli::<Vec<String>>(&["KEYS", "*"]).await.unwrap() {
        let value = server.cli(&["DUMP", &key]).await.unwrap();
        all.insert(key, value);
    }
    all
}

/// What a verb says that meets a key of the wrong type.
#[derive(Debug)]
pub(crate) enum Refusal {
    Misconfigured,
    Other(String),
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Misconfigured(_) => Self::Misconfigured,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<EnqueueError> for Refusal {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Misconfigured(_) => Self::Misconfigured,
            other => Self::Other(other.to_string()),
        }
    }
}
