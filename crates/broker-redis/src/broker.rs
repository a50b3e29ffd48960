//! The broker: what its transitions share, and the traits of `lovage-core`, wired to them.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Awaited, Broker, BrokerError, Callbacks, Cancelled, Claim, Clock, Control, Counts, DeadLetter,
    Durability, Encoded, EnqueueError, Enqueued, Fence, Inspect, Membership, Millis, Owed, Place,
    QueueName, Recovered, Renewal, Rescheduled, Results, Retention, Revived, Scheduled, Settled,
    Settlement, TaskId, TransportError, When, WorkerId, hours,
};

use crate::bell::Bells;
use crate::config::{ConnectError, RedisConfig};
use crate::confirm::Confirming;
use crate::divisions::Divisions;
use crate::error::connection_error;
use crate::keys::{BeatKeys, Keys, channels};
use crate::partitioned::{self, by_id};
use crate::routes::Routes;
use crate::subscription::Subscription;
use crate::transitions;

/// How long the outcome of a cancelled task is kept: nobody said, as its envelope is not read for it.
pub(crate) const CANCELLED_KEPT: Duration = hours(1);
/// Queues whose keys are remembered by one handle; more of them are spelled anew.
pub(crate) const QUEUES_REMEMBERED_MAX: usize = 10_000;

/// A broker on one Redis. Clones share its connections: one for all verbs, and, opened when first needed, one a queue
/// for [`Broker::wait`] and one for pushed outcomes.
///
/// # Redis
/// Each verb is one script, atomic in its queue. Its connections live on the runtime on which they were made:
/// [`Membership::separate`] makes others for another runtime.
#[derive(Clone)]
pub struct RedisBroker {
    pub(crate) shared: Arc<Shared>,
}

/// What all clones of a handle share.
pub(crate) struct Shared {
    pub(crate) config: RedisConfig,
    pub(crate) connection: Arc<Routes>,
    pub(crate) channels: String,
    pub(crate) beat: BeatKeys,
    keys: Mutex<HashMap<QueueName, Arc<Keys>>>,
    pub(crate) divisions: Arc<Divisions>,
    pub(crate) bells: Bells,
    subscription: Subscription,
    pub(crate) confirming: Confirming,
}

impl RedisBroker {
    /// Connects, checks the server's version, and what the user may do if the configuration says what it is for.
    ///
    /// # Errors
    /// [`ConnectError`]; a broker that was connected once reconnects by itself.
    pub async fn connect(config: &RedisConfig) -> Result<Self, ConnectError> {
        let broker = Self::connect_later(config)?;
        broker.shared.connection.connect().await?;
        match broker.shared.connection.missing().await {
            Ok(None) => Ok(broker),
            Ok(Some(missing)) => Err(ConnectError::Permissions(missing)),
            Err(BrokerError::Misconfigured(source)) => Err(ConnectError::Misconfigured(source)),
            Err(error) => Err(ConnectError::Unreachable(TransportError::new(error))),
        }
    }

    /// A broker that connects when it is first needed, for a program that can do its work without until then.
    ///
    /// # Errors
    /// [`ConnectError::Url`] and [`ConnectError::Namespace`] alone. A server that cannot be reached, or is too old, is
    /// an error of each verb.
    pub fn connect_later(config: &RedisConfig) -> Result<Self, ConnectError> {
        Self::knowing(config, Arc::default())
    }

    /// With what another handle has heard of the division of queues, and hears from now on.
    fn knowing(config: &RedisConfig, divisions: Arc<Divisions>) -> Result<Self, ConnectError> {
        let connection = Arc::new(Routes::new(config)?);
        let channels = channels(&config.namespace);
        Ok(Self {
            shared: Arc::new(Shared {
                bells: Bells::new(config, connection.clone()),
                subscription: Subscription::new(config, connection.clone(), &channels),
                confirming: Confirming::new(config),
                beat: BeatKeys::of(&config.namespace),
                config: config.clone(),
                connection,
                channels,
                keys: Mutex::default(),
                divisions,
            }),
        })
    }
}

impl Shared {
    pub(crate) fn keys(&self, queue: &QueueName) -> Arc<Keys> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = keys.get(queue) {
            return keys.clone();
        }
        if QUEUES_REMEMBERED_MAX <= keys.len() {
            keys.clear();
        }
        let spelled = Arc::new(Keys::of(&self.config.namespace, queue));
        keys.insert(queue.clone(), spelled.clone());
        spelled
    }

    /// The instant that scripts go by: none, which makes them ask Redis, unless a test chose one.
    pub(crate) fn now(&self) -> String {
        match &self.config.clock {
            Clock::System => String::new(),
            Clock::Manual(clock) => clock.now().get().to_string(),
        }
    }
}

impl Broker for RedisBroker {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        let stored = partitioned::enqueue(&self.shared, queue, tasks, Durability::NONE).await?;
        Ok(stored.answers)
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        partitioned::claim(&self.shared, queue, worker, max).await
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        partitioned::settle(&self.shared, queue, worker, settlements).await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        partitioned::wait(&self.shared, queue, at_most).await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        partitioned::renew(&self.shared, queue, worker, lease).await
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        partitioned::recover(&self.shared, queue, patience).await
    }
}

impl Membership for RedisBroker {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        partitioned::register(&self.shared, queue, worker, lease).await
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        partitioned::holdings(&self.shared, queue, worker).await
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        partitioned::retire(&self.shared, queue, worker).await
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        let config = &self.shared.config;
        let broker =
            Self::knowing(config, self.shared.divisions.clone()).map_err(connection_error)?;
        let connected = broker.shared.connection.connect().await;
        connected.map_err(connection_error)?;
        Ok(broker)
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: Bytes,
    ) -> Result<bool, BrokerError> {
        partitioned::report(&self.shared, queue, worker, &report).await
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        partitioned::retain(&self.shared, queue, retention).await
    }
}

impl Callbacks for RedisBroker {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        partitioned::callbacks(&self.shared, queue, max, patience).await
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        partitioned::called_back(&self.shared, queue, &deaths).await
    }
}

impl Results for RedisBroker {
    async fn outcome(
        &self,
        queue: &QueueName,
        id: TaskId,
        at_most: Duration,
    ) -> Result<Awaited, BrokerError> {
        let ask =
            || partitioned::outcome(&self.shared, queue, id, self.shared.subscription.handle());
        self.shared.subscription.outcome(id, at_most, ask).await
    }
}

impl Control for RedisBroker {
    async fn cancel(&self, queue: &QueueName, id: TaskId) -> Result<Cancelled, BrokerError> {
        by_id(&self.shared, queue, id, |name| async move {
            transitions::cancel(&self.shared, &name, id).await
        })
        .await
    }

    async fn revive(&self, queue: &QueueName, id: TaskId) -> Result<Revived, BrokerError> {
        by_id(&self.shared, queue, id, |name| async move {
            let answers = transitions::revive(&self.shared, &name, &[id]).await?;
            Ok(answers.first().copied().unwrap_or(Revived::NotDead))
        })
        .await
    }

    async fn reschedule(
        &self,
        queue: &QueueName,
        id: TaskId,
        when: When,
    ) -> Result<Rescheduled, BrokerError> {
        by_id(&self.shared, queue, id, |name| async move {
            transitions::reschedule(&self.shared, &name, id, when).await
        })
        .await
    }

    async fn bound(&self, queue: &QueueName, tasks_max: Option<u64>) -> Result<(), BrokerError> {
        partitioned::bound(&self.shared, queue, tasks_max).await
    }
}

impl Inspect for RedisBroker {
    async fn state(&self, queue: &QueueName, id: TaskId) -> Result<Place, BrokerError> {
        by_id(&self.shared, queue, id, |name| async move {
            transitions::state(&self.shared, &name, id).await
        })
        .await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, BrokerError> {
        partitioned::counts(&self.shared, queue).await
    }

    async fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, BrokerError> {
        partitioned::scheduled(&self.shared, queue, offset, limit).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        partitioned::dead_letters(&self.shared, queue, offset, limit).await
    }
}
