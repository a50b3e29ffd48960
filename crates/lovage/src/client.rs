//! The client: one connection to a broker, by which tasks are sent and looked after.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{
    AccessFiles, BrokerError, Cancelled, Clock, Control, Counts, Durability, Inspect, Millis,
    NameError, QueueName, Rescheduled, Scheduled, Task, TaskId, When, secs,
};
use tokio::time::timeout_at;

use crate::any_broker::AnyBroker;
use crate::bulk;
use crate::deliver::Lines;
use crate::error::{ConnectError, ControlError, SendAllError};
use crate::gather::no_answer;
use crate::handle::Handle;
use crate::reach::Reach;
use crate::retry::{Attempts, instant_in};
use crate::send::{IntoSending, Sending};
#[cfg(feature = "spool")]
use crate::spool::{Spool, SpoolConfig};
#[cfg(feature = "memory")]
use crate::testing::Inline;

/// The longest that a call takes unless the builder says otherwise: a web request can still answer in time.
pub const DEADLINE_DEFAULT: Duration = secs(2);

/// The most bytes of envelopes that single sends of one client hold together unless the builder says otherwise: a
/// hundred thousand sends of 2.5 kB each.
pub const WAITING_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// Sends tasks and looks after them. Cheap to clone; clones share one connection.
///
/// ```standalone_crate
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
/// use lovage::prelude::*;
///
/// #[task]
/// async fn add(a: u64, b: u64) -> u64 { a + b }
///
/// let client = Client::connect("memory://").await?;
/// let worker = client.worker().start().await?;
///
/// let sum = client.send(add(2, 3)).priority(9).await?;
/// assert_eq!(sum.wait(secs(10)).await?, 5);
/// # worker.shutdown().await; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    broker: AnyBroker,
    pub(crate) deadline: Duration,
    clock: Clock,
    pub(crate) durability: Durability,
    pub(crate) lines: Lines,
    #[cfg(feature = "spool")]
    pub(crate) spool: Option<Spool>,
    #[cfg(feature = "memory")]
    pub(crate) inline: Option<(Arc<Inline>, Mode)>,
}

/// What a client of the test kit does with what it sends.
#[cfg(feature = "memory")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Notes it.
    Noted,
    /// Runs it before the send is answered.
    Eager,
}

/// A client that is being put together.
#[derive(Clone)]
#[must_use = "call connect() or build()"]
pub struct ClientBuilder<Source> {
    source: Source,
    reach: Reach,
    deadline: Duration,
    clock: Clock,
    durability: Durability,
    waiting_bytes_max: usize,
    #[cfg(feature = "spool")]
    spool: Option<SpoolConfig>,
    #[cfg(feature = "memory")]
    inline: Option<(Arc<Inline>, Mode)>,
}

/// Without the source: a URL may hold a password.
impl<Source> fmt::Debug for ClientBuilder<Source> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("deadline", &self.deadline)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the broker at `address`: `redis://`, `rediss://`, `unix:`, `redis+sentinel://`, `redis+cluster://`, or
    /// `memory://` for one inside this process (see [`AnyBroker::connect`]).
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::builder(address).connect().await
    }

    /// Starts a client for the broker at `address`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder<String> {
        ClientBuilder::of(address.into())
    }

    /// A client of a broker that is there already.
    pub fn with_broker(broker: impl Into<AnyBroker>) -> Self {
        ClientBuilder::of(broker.into()).build()
    }

    /// Sends a task: a builder, awaited to send.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # #[task] async fn greet(name: String) {}
    /// # async fn f(client: Client) -> anyhow::Result<()> {
    /// let greeting = client.send(greet("Ada")).countdown(mins(5)).await?;
    /// # Ok(()) }
    /// ```
    pub fn send<T: Task>(&self, message: T) -> Sending<T> {
        Sending::new(self.clone(), message)
    }

    /// Sends many tasks, a thousand a call and a few calls at a time; items are messages, or sends with options.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # #[task] async fn resize(width: u32) {}
    /// # async fn f(client: Client) -> anyhow::Result<()> {
    /// client.send_all((1..=9).map(|n| resize(n * 100))).await?;
    /// client.send_all((1..=9).map(|n| client.send(resize(n * 100)).priority(1))).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Stops at the first batch that is not accepted, and tells which tasks were before it. A batch is accepted whole
    /// or not at all.
    ///
    /// # Cancel safety
    /// Dropping the future leaves an unknown part of the tasks sent.
    pub async fn send_all<I>(
        &self,
        items: I,
    ) -> Result<Vec<Handle<<I::Item as IntoSending>::Task>>, SendAllError>
    where
        I: IntoIterator,
        I::Item: IntoSending,
    {
        bulk::send_all(self, items).await
    }

    /// The handle of a task that was sent elsewhere or earlier.
    pub fn handle<T: Task>(&self, queue: &str, id: TaskId) -> Result<Handle<T>, NameError> {
        Ok(Handle::rebuilt(self.clone(), QueueName::parse(queue)?, id))
    }

    /// Cancels a task by its id, whatever task it is: gone if it is ready, scheduled or dead; asked to stop if it runs,
    /// and then not run again.
    pub async fn cancel(&self, queue: &str, id: TaskId) -> Result<Cancelled, ControlError> {
        let queue = QueueName::parse(queue)?;
        Ok(self.within(|| self.broker().cancel(&queue, id)).await?)
    }

    /// Lets a task that waits for its time be due at another one, by its id; as [`Handle::reschedule`] does.
    pub async fn reschedule(
        &self,
        queue: &str,
        id: TaskId,
        when: When,
    ) -> Result<Rescheduled, ControlError> {
        let queue = QueueName::parse(queue)?;
        Ok(self
            .within(|| self.broker().reschedule(&queue, id, when))
            .await?)
    }

    /// The tasks of `queue` that wait for their time, those that wait for their next attempt included: earliest first,
    /// from number `offset` on, at most `limit`; fewer where they are large. Empty where there are no more.
    ///
    /// Tasks move while pages are read: one that becomes ready in between shifts the numbers of those behind it.
    pub async fn scheduled(
        &self,
        queue: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, ControlError> {
        let queue = QueueName::parse(queue)?;
        let tasks = || self.broker().scheduled(&queue, offset, limit);
        Ok(self.within(tasks).await?)
    }

    /// How many tasks are in each place of `queue`.
    pub async fn counts(&self, queue: &str) -> Result<Counts, ControlError> {
        let queue = QueueName::parse(queue)?;
        Ok(self.within(|| self.broker().counts(&queue)).await?)
    }

    /// Bounds how many tasks `queue` may hold, dead letters included; `None` takes the bound away. A send beyond it
    /// is refused with [`SendError::QueueFull`](crate::SendError::QueueFull).
    pub async fn bound(&self, queue: &str, tasks_max: Option<u64>) -> Result<(), ControlError> {
        let queue = QueueName::parse(queue)?;
        Ok(self
            .within(|| self.broker().bound(&queue, tasks_max))
            .await?)
    }

    /// The spool, if the client has one.
    #[cfg(feature = "spool")]
    pub fn spool(&self) -> Option<&Spool> {
        self.0.spool.as_ref()
    }

    /// The broker.
    pub fn broker(&self) -> &AnyBroker {
        &self.0.broker
    }

    #[cfg(feature = "beat")]
    pub(crate) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    pub(crate) fn now(&self) -> Millis {
        self.0.clock.now()
    }

    /// A call to the broker within this client's deadline. Refusals for now, which change nothing, are tried again.
    pub(crate) async fn within<T, Call>(&self, call: impl Fn() -> Call) -> Result<T, BrokerError>
    where
        Call: Future<Output = Result<T, BrokerError>>,
    {
        let mut attempts = Attempts::until(instant_in(self.0.deadline));
        loop {
            let answer = timeout_at(attempts.deadline(), call()).await;
            match answer.unwrap_or_else(|_| Err(no_answer())) {
                Err(error @ BrokerError::Refused(_)) if attempts.pause().await => drop(error),
                answer => return answer,
            }
        }
    }
}

impl<Source> ClientBuilder<Source> {
    pub(crate) fn of(source: Source) -> Self {
        Self {
            source,
            reach: Reach::default(),
            deadline: DEADLINE_DEFAULT,
            clock: Clock::System,
            durability: Durability::NONE,
            waiting_bytes_max: WAITING_BYTES_DEFAULT,
            #[cfg(feature = "spool")]
            spool: None,
            #[cfg(feature = "memory")]
            inline: None,
        }
    }

    /// Gives each call up after `span`, two seconds unless set.
    pub fn deadline(mut self, span: Duration) -> Self {
        self.deadline = span;
        self
    }

    /// Lets each send count as done only when it is confirmed so, unless it says otherwise itself; see
    /// [`Sending::durable`].
    pub fn durable(mut self, wanted: Durability) -> Self {
        self.durability = wanted;
        self
    }

    /// Bounds the bytes of all single sends under way, [`WAITING_BYTES_DEFAULT`] unless set: while a broker is slow or
    /// away, each holds its envelope until its deadline. One beyond it is refused with [`SendError::Overloaded`](crate::SendError::Overloaded). A
    /// bulk send bounds itself.
    pub fn waiting_bytes_max(mut self, bytes: usize) -> Self {
        self.waiting_bytes_max = bytes;
        self
    }

    /// Takes the time that envelopes say they were sent at from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    #[cfg(feature = "memory")]
    pub(crate) fn inline(mut self, inline: &Arc<Inline>) -> Self {
        self.inline = Some((Arc::clone(inline), Mode::Noted));
        self
    }

    #[cfg(feature = "memory")]
    pub(crate) fn eager(mut self) -> Self {
        self.inline = self.inline.map(|(inline, _)| (inline, Mode::Eager));
        self
    }

    fn build_on(self, broker: AnyBroker, #[cfg(feature = "spool")] spool: Option<Spool>) -> Client {
        Client(Arc::new(Inner {
            broker,
            deadline: self.deadline,
            clock: self.clock,
            durability: self.durability,
            lines: Lines::new(self.waiting_bytes_max),
            #[cfg(feature = "spool")]
            spool,
            #[cfg(feature = "memory")]
            inline: self.inline,
        }))
    }
}

impl ClientBuilder<String> {
    /// Uses the queues under `namespace`: one broker can serve several systems that do not see each other.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.reach.namespace = Some(namespace.into());
        self
    }

    /// Takes user, password and certificates from `files`, which are read anew for each connection: rotating them needs
    /// no restart. A broker inside this process has no need of them.
    ///
    /// ```no_run
    /// # async fn f() -> anyhow::Result<()> {
    /// use lovage::{AccessFiles, Client};
    ///
    /// let files = AccessFiles {
    ///     password: Some("/run/secrets/redis-password".into()),
    ///     ca: Some("/etc/redis/ca.pem".into()),
    ///     ..AccessFiles::default()
    /// };
    /// let client = Client::builder("rediss://app@redis.internal").files(files).connect().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// For secrets from elsewhere there is [`with_broker`](Client::with_broker), with a broker that asks a function.
    pub fn files(mut self, files: AccessFiles) -> Self {
        self.reach.files = files;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError::Misconfigured`] also where one of the [`files`](Self::files) cannot be used now. Once there is a
    /// client, such a file is told in the log, and read again until it can be used.
    pub async fn connect(mut self) -> Result<Client, ConnectError> {
        // A call that ends at the deadline is dropped and tells the broker nothing. So that a connection which has died
        // without a word is noticed and replaced, and the call made again, the broker gives up sooner.
        self.reach.patience = Some(self.deadline / 2);
        let connected = AnyBroker::connect_with(&self.source, &self.reach).await;
        #[cfg(feature = "spool")]
        if let Some(config) = self.spool.clone() {
            let broker = match connected {
                // What it is for: sends are kept until the broker is there for the first time.
                Err(ConnectError::Unreachable(error)) => {
                    tracing::warn!(%error, "the broker cannot be reached yet; sends go into the spool");
                    AnyBroker::connect_later(&self.source, &self.reach)?
                }
                connected => connected?,
            };
            let spool = Spool::open(config, &broker).await?;
            return Ok(self.build_on(broker, Some(spool)));
        }
        Ok(self.build_on(
            connected?,
            #[cfg(feature = "spool")]
            None,
        ))
    }

    /// Keeps what the broker does not take now on this host's disk, and sends it later: see [`Spool`]. With it,
    /// [`connect`](Self::connect) succeeds also where the broker cannot be reached.
    #[cfg(feature = "spool")]
    pub fn spool(mut self, config: SpoolConfig) -> Self {
        self.spool = Some(config);
        self
    }
}

impl ClientBuilder<AnyBroker> {
    /// Makes the client.
    pub fn build(self) -> Client {
        let broker = self.source.clone();
        self.build_on(
            broker,
            #[cfg(feature = "spool")]
            None,
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.0.broker)
    }
}
