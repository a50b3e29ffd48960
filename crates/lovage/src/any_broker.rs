//! One broker type for whatever the address says: the choice is made here and nowhere else.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, Awaited, BeatId, BeatRole, Broker, BrokerError, Cancelled, Claim,
    Confirmed, Control, Counts, DeadLetter, Durability, Durable, Encoded, EnqueueError, Enqueued,
    Fence, Forwarded, Inspect, Lead, Leader, Looked, Membership, Outgoing, Partitioned,
    Partitioning, Partitions, Place, QueueName, Recovered, Renewal, Rescheduled, Results,
    Retention, Revived, ScheduleName, Scheduled, Schedules, Settled, Settlement, StoredSchedule,
    TaskId, When, WorkerId,
};

use crate::error::ConnectError;
use crate::reach::Reach;

/// The namespace unless another is named, as the Redis broker has it.
#[cfg(feature = "memory")]
const NAMESPACE_DEFAULT: &str = "lovage";

/// The broker that an address names: Redis, or the one inside this process. Cheap to clone.
#[derive(Clone)]
#[non_exhaustive]
pub enum AnyBroker {
    /// Redis or Valkey.
    #[cfg(feature = "redis")]
    Redis(lovage_broker_redis::RedisBroker),
    /// The broker inside this process.
    #[cfg(feature = "memory")]
    Memory(lovage_broker_memory::MemoryBroker),
}

impl AnyBroker {
    /// Connects to the broker at `address`.
    ///
    /// - `redis://`, `rediss://` (TLS) and `unix:`: Redis or Valkey;
    /// - `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE`, or `rediss+sentinel://` (TLS): the primary that the sentinels
    ///   name, through failovers;
    /// - `redis+cluster://HOST:PORT,HOST:PORT`, or `rediss+cluster://` (TLS): a cluster, by some of its nodes;
    /// - `memory://`: a new, empty broker inside this process;
    /// - `memory://NAME`: the one of that name inside this process. It is kept until the process ends.
    ///
    /// # Errors
    /// [`ConnectError::Address`] for any other address; it names the schemes.
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::connect_with(address, &Reach::default()).await
    }

    /// Connects as [`Self::connect`] does, to the queues under `namespace`: one broker can serve several systems that
    /// do not see each other.
    pub async fn connect_in(address: &str, namespace: &str) -> Result<Self, ConnectError> {
        let reach = Reach {
            namespace: Some(namespace.to_owned()),
            ..Reach::default()
        };
        Self::connect_with(address, &reach).await
    }

    pub(crate) async fn connect_with(address: &str, reach: &Reach) -> Result<Self, ConnectError> {
        match address.split_once(':').map(|(scheme, _)| scheme) {
            Some(
                "redis" | "rediss" | "unix" | "redis+unix" | "redis+sentinel" | "rediss+sentinel"
                | "redis+cluster" | "rediss+cluster",
            ) => redis(address, reach).await,
            Some("memory") => memory(address, reach.namespace.as_deref()),
            Some(scheme) => Err(refused(address, &format!("scheme {scheme:?} is not known"))),
            None => Err(refused(address, "it has no scheme")),
        }
    }
}

#[cfg(feature = "spool")]
impl AnyBroker {
    /// The broker at an address that could not be reached just now: it connects when it is first needed.
    pub(crate) fn connect_later(address: &str, reach: &Reach) -> Result<Self, ConnectError> {
        #[cfg(feature = "redis")]
        {
            let config = reach.redis(address);
            let broker = lovage_broker_redis::RedisBroker::connect_later(&config);
            broker
                .map(Self::from)
                .map_err(|error| redis_error(address, error))
        }
        #[cfg(not(feature = "redis"))]
        Err(refused(
            address,
            "no broker of this build is ever out of reach",
        ))
    }
}

fn refused(address: &str, reason: &str) -> ConnectError {
    // Whatever stands before the last @, or behind a ?, may be a password, and errors are logged.
    let (scheme, separator, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme, "://", rest),
        None => ("", "", address),
    };
    let (hidden, shown) = match rest.rsplit_once('@') {
        _ if rest.contains('?') => ("…", ""),
        Some((_, host)) => ("…@", host),
        None => ("", rest),
    };
    ConnectError::Address {
        address: format!("{scheme}{separator}{hidden}{shown}"),
        reason: reason.to_owned(),
    }
}

#[cfg(feature = "redis")]
async fn redis(address: &str, reach: &Reach) -> Result<AnyBroker, ConnectError> {
    let config = reach.redis(address);
    let connected = lovage_broker_redis::RedisBroker::connect(&config).await;
    connected
        .map(AnyBroker::from)
        .map_err(|error| redis_error(address, error))
}

#[cfg(feature = "redis")]
fn redis_error(address: &str, error: lovage_broker_redis::ConnectError) -> ConnectError {
    use lovage_broker_redis::ConnectError as RedisError;
    use lovage_core::TransportError;

    match error {
        RedisError::Url { reason } => refused(address, &reason),
        RedisError::Unreachable(source) => ConnectError::Unreachable(source),
        RedisError::Misconfigured(source) => ConnectError::Misconfigured(source),
        other => ConnectError::Misconfigured(TransportError::new(other)),
    }
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "as the one with Redis")]
async fn redis(_: &str, _: &Reach) -> Result<AnyBroker, ConnectError> {
    Err(ConnectError::Feature {
        scheme: "redis://",
        feature: "redis",
    })
}

#[cfg(feature = "memory")]
fn memory(address: &str, namespace: Option<&str>) -> Result<AnyBroker, ConnectError> {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use lovage_broker_memory::MemoryBroker;

    type Named = Mutex<HashMap<(String, String), MemoryBroker>>;
    // Never emptied: the data of a named broker must outlive the last client that happens to look at it, as it
    // does with a server. Bounded by the names that a program uses.
    static NAMED: LazyLock<Named> = LazyLock::new(Mutex::default);

    let name = match address.strip_prefix("memory:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => return Err(refused(address, "it has no scheme")),
    };
    if name.is_empty() {
        return Ok(AnyBroker::Memory(MemoryBroker::new()));
    }
    let namespace = namespace.unwrap_or(NAMESPACE_DEFAULT);
    let key = (name.to_owned(), namespace.to_owned());
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(AnyBroker::Memory(named.entry(key).or_default().clone()))
}

#[cfg(not(feature = "memory"))]
fn memory(_: &str, _: Option<&str>) -> Result<AnyBroker, ConnectError> {
    Err(ConnectError::Feature {
        scheme: "memory://",
        feature: "memory",
    })
}

#[cfg(feature = "redis")]
impl From<lovage_broker_redis::RedisBroker> for AnyBroker {
    fn from(broker: lovage_broker_redis::RedisBroker) -> Self {
        Self::Redis(broker)
    }
}

#[cfg(feature = "memory")]
impl From<lovage_broker_memory::MemoryBroker> for AnyBroker {
    fn from(broker: lovage_broker_memory::MemoryBroker) -> Self {
        Self::Memory(broker)
    }
}

impl fmt::Debug for AnyBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(_) => f.write_str("Redis"),
            #[cfg(feature = "memory")]
            Self::Memory(_) => f.write_str("Memory"),
        }
    }
}

/// Calls the broker that is there.
macro_rules! each {
    ($any:expr, $broker:ident => $call:expr) => {
        match *$any {
            #[cfg(feature = "redis")]
            AnyBroker::Redis(ref $broker) => $call,
            #[cfg(feature = "memory")]
            AnyBroker::Memory(ref $broker) => $call,
        }
    };
}

// Behind the macro, which they use.
mod checkup;
mod dead_letters;

mod callbacks;

impl Broker for AnyBroker {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        each!(self, broker => broker.enqueue(queue, tasks).await)
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        each!(self, broker => broker.claim(worker, queue, max).await)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        each!(self, broker => broker.settle(worker, queue, settlements).await)
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        each!(self, broker => broker.wait(queue, at_most).await)
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        each!(self, broker => broker.renew(worker, queue, lease).await)
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        each!(self, broker => broker.recover(queue, patience).await)
    }
}

impl Durable for AnyBroker {
    async fn enqueue_confirmed(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        wanted: Durability,
    ) -> Result<Confirmed, EnqueueError> {
        each!(self, broker => broker.enqueue_confirmed(queue, tasks, wanted).await)
    }
}

impl Membership for AnyBroker {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        each!(self, broker => broker.register(worker, queue, lease).await)
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        each!(self, broker => broker.holdings(worker, queue).await)
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        each!(self, broker => broker.retire(worker, queue).await)
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        each!(self, broker => broker.separate().await.map(Self::from))
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: Bytes,
    ) -> Result<bool, BrokerError> {
        each!(self, broker => broker.report(worker, queue, report).await)
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        each!(self, broker => broker.retain(queue, retention).await)
    }
}

impl Results for AnyBroker {
    async fn outcome(
        &self,
        queue: &QueueName,
        id: TaskId,
        at_most: Duration,
    ) -> Result<Awaited, BrokerError> {
        each!(self, broker => broker.outcome(queue, id, at_most).await)
    }
}

impl Control for AnyBroker {
    async fn cancel(&self, queue: &QueueName, id: TaskId) -> Result<Cancelled, BrokerError> {
        each!(self, broker => broker.cancel(queue, id).await)
    }

    async fn revive(&self, queue: &QueueName, id: TaskId) -> Result<Revived, BrokerError> {
        each!(self, broker => broker.revive(queue, id).await)
    }

    async fn reschedule(
        &self,
        queue: &QueueName,
        id: TaskId,
        when: When,
    ) -> Result<Rescheduled, BrokerError> {
        each!(self, broker => broker.reschedule(queue, id, when).await)
    }

    async fn bound(&self, queue: &QueueName, tasks_max: Option<u64>) -> Result<(), BrokerError> {
        each!(self, broker => broker.bound(queue, tasks_max).await)
    }
}

impl Partitioning for AnyBroker {
    async fn partition(
        &self,
        queue: &QueueName,
        partitions: Partitions,
    ) -> Result<Partitioned, BrokerError> {
        each!(self, broker => broker.partition(queue, partitions).await)
    }

    async fn partitions(&self, queue: &QueueName) -> Result<Partitions, BrokerError> {
        each!(self, broker => broker.partitions(queue).await)
    }
}

impl Inspect for AnyBroker {
    async fn state(&self, queue: &QueueName, id: TaskId) -> Result<Place, BrokerError> {
        each!(self, broker => broker.state(queue, id).await)
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, BrokerError> {
        each!(self, broker => broker.counts(queue).await)
    }

    async fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, BrokerError> {
        each!(self, broker => broker.scheduled(queue, offset, limit).await)
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        each!(self, broker => broker.dead_letters(queue, offset, limit).await)
    }
}

impl Schedules for AnyBroker {
    async fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> Result<Lead, BrokerError> {
        each!(self, broker => broker.lead(beat, lease, max).await)
    }

    async fn resign(&self, beat: BeatId) -> Result<(), BrokerError> {
        each!(self, broker => broker.resign(beat).await)
    }

    async fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Amended>, BrokerError> {
        each!(self, broker => broker.amend(epoch, amendments).await)
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
        each!(self, broker => broker.schedule(name).await)
    }

    async fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
        each!(self, broker => broker.schedules(after, limit).await)
    }

    async fn firings(&self, name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError> {
        each!(self, broker => broker.firings(name, limit).await)
    }

    async fn leader(&self) -> Result<Option<Leader>, BrokerError> {
        each!(self, broker => broker.leader().await)
    }

    async fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Vec<Outgoing>, BrokerError> {
        each!(self, broker => broker.outbox(queue, max).await)
    }

    async fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> Result<Forwarded, EnqueueError> {
        each!(self, broker => broker.forward(queue, outgoing).await)
    }

    async fn forwarded(&self, queue: &QueueName, up_to: u64) -> Result<bool, BrokerError> {
        each!(self, broker => broker.forwarded(queue, up_to).await)
    }

    async fn await_turn(&self, role: BeatRole, at_most: Duration) -> Result<(), BrokerError> {
        each!(self, broker => broker.await_turn(role, at_most).await)
    }
}
