//! One send: a builder of what the sender says beside the arguments, and the envelope it makes.

use std::pin::Pin;
use std::time::Duration;

use lovage_core::{
    Ack, Backoff, Draft, Durability, Envelope, FailedTask, Millis, Task, TaskContext, TaskId,
    TaskOptions, TraceContext, Unique, Uniqueness, When, telemetry,
};
use tracing::Instrument;

use crate::client::Client;
use crate::deliver::{Kept, Manner};
use crate::error::SendError;
use crate::handle::Handle;

/// A send that is being put together; await it to send.
///
/// What is set here takes the place of the task's own option for this one send.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<T: Task> {
    client: Client,
    message: T,
    draft: Draft,
    manner: Manner,
}

impl<T: Task> Sending<T> {
    pub(crate) fn new(client: Client, message: T) -> Self {
        Self {
            client,
            message,
            draft: Draft::default(),
            manner: Manner::default(),
        }
    }

    fn option(mut self, set: impl FnOnce(TaskOptions) -> TaskOptions) -> Self {
        self.draft.options = set(self.draft.options);
        self
    }

    /// Sends it to `queue`.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.option(|options| options.queue(queue.into()))
    }

    /// Starts it no earlier than `span` after the broker has accepted it, to the millisecond; parts of one count as a
    /// whole. A span that leads beyond [`Millis::MAX`] ends there.
    pub fn countdown(mut self, span: Duration) -> Self {
        self.draft.start = Some(When::In(span));
        self
    }

    /// Starts it no earlier than `instant`, by the broker's clock, to the millisecond. One that has passed is at once;
    /// one in a far year waits in the broker, at most until [`Millis::MAX`], and costs nothing meanwhile.
    pub fn eta(mut self, instant: impl Into<Millis>) -> Self {
        self.draft.start = Some(When::At(instant.into()));
        self
    }

    /// Lets it expire `span` after the broker has accepted it: from then on it does not start.
    pub fn expires(mut self, span: Duration) -> Self {
        self.draft.expires = Some(When::In(span));
        self
    }

    /// Lets it expire at `instant`, by the broker's clock: from then on it does not start.
    pub fn expires_at(mut self, instant: impl Into<Millis>) -> Self {
        self.draft.expires = Some(When::At(instant.into()));
        self
    }

    /// Orders it within its queue: 0 to 9, higher first, 5 unless set.
    pub fn priority(self, level: u8) -> Self {
        self.option(|options| options.priority(level))
    }

    /// Gives it this id instead of a new one (UUID v7). While a task of that id lives in the queue, another send of
    /// it is the same task.
    pub fn id(mut self, id: TaskId) -> Self {
        self.draft.id = Some(id);
        self
    }

    /// Makes it the same send as every other of this key, within the queue and the task, for a day: the first one is the
    /// task, and each later one is answered with its handle, also when it has run and is gone, failed or was cancelled.
    ///
    /// Its id follows from the key. A send whose answer was lost may so be repeated safely, by this client and by a program
    /// that was started anew, whatever the task. A key has 1 to 1024 bytes: an empty one, as a header that is missing may make,
    /// would be one key for all, and is refused.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # #[task(ack_early)] async fn charge(order: u64) {}
    /// # async fn f(client: Client, order: u64) -> anyhow::Result<()> {
    /// let charge = client.send(charge(order)).idempotency_key(format!("charge-{order}")).await?;
    /// if !charge.is_new() {
    ///     println!("it was sent before");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Redis
    /// The key is written by the script that stores the task, and lasts by Redis's clock.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.draft.idempotency_key = Some(key.into());
        self
    }

    /// Remembers the idempotency key for `span`, to the millisecond; a day unless set.
    pub fn idempotency_ttl(mut self, span: Duration) -> Self {
        self.draft.idempotency_ttl = Some(span);
        self
    }

    /// Makes it unique in its queue, instead of what the task says of itself: see [`Unique`], and
    /// `docs/uniqueness.md`.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # use lovage::{Unique, Until};
    /// # #[task] async fn refresh(shop: u64, full: bool) {}
    /// # async fn f(client: Client) -> anyhow::Result<()> {
    /// let by_shop = Unique::by(|refresh: &refresh| refresh.shop).until(Until::Start);
    /// let refresh = client.send(refresh(7, true)).unique(by_shop).await?;
    /// if !refresh.is_new() {
    ///     println!("{} is on its way already", refresh.id());
    /// }
    /// # Ok(()) }
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is made for this call, as the value of every other option"
    )]
    pub fn unique(mut self, unique: Unique<T>) -> Self {
        self.draft.unique = Uniqueness::Lock(unique.lock(&self.message));
        self
    }

    /// Sends it beside others of its key, though the task says that it is unique.
    pub fn not_unique(mut self) -> Self {
        self.draft.unique = Uniqueness::None;
        self
    }

    /// Allows `retries` attempts after the first.
    pub fn max_retries(self, retries: u32) -> Self {
        self.option(|options| options.max_retries(retries))
    }

    /// Spaces the attempts. A custom backoff is a function and cannot travel: it is refused.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.option(|options| options.backoff(backoff))
    }

    /// Cancels the run's token after `limit`.
    pub fn timeout(self, limit: Duration) -> Self {
        self.option(|options| options.timeout(limit))
    }

    /// Aborts an async body after `limit`, and kills the process of one that has a process to itself.
    pub fn hard_timeout(self, limit: Duration) -> Self {
        self.option(|options| options.hard_timeout(limit))
    }

    /// Keeps the result for `span`.
    pub fn result_ttl(self, span: Duration) -> Self {
        self.option(|options| options.result_ttl(span))
    }

    /// Keeps no result; see [`Handle::wait`] for what a wait can still tell.
    pub fn ignore_result(self) -> Self {
        self.option(TaskOptions::ignore_result)
    }

    /// Says when it counts as taken.
    pub fn ack(self, ack: Ack) -> Self {
        self.option(|options| options.ack(ack))
    }

    /// Sends the task that `callback` builds when this one has failed for good.
    pub fn on_failure<C: Task>(self, callback: fn(FailedTask) -> C) -> Self {
        self.option(|options| options.on_failure(callback))
    }

    /// Adds a header, which the body sees; a second one of the same name takes the place of the first.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.draft.headers.insert(name.into(), value.into());
        self
    }

    /// Lets it continue this trace.
    pub fn trace_context(mut self, trace: TraceContext) -> Self {
        self.draft.trace = Some(trace);
        self
    }

    /// Makes it a child of the running task: same root, that task as parent, and its trace unless one was set.
    pub fn child_of(mut self, parent: &TaskContext) -> Self {
        self.draft.root = Some(parent.root());
        self.draft.parent = Some(parent.id());
        self.draft.trace = self.draft.trace.or_else(|| parent.trace().cloned());
        self
    }

    /// Gives this send up after `span`, instead of the client's own deadline; see
    /// [`ClientBuilder::deadline`](crate::ClientBuilder::deadline).
    pub fn deadline(mut self, span: Duration) -> Self {
        self.manner.deadline = Some(span);
        self
    }

    /// Lets it count as done only when `wanted` is confirmed: `Ok` then says that the task survives the loss of the
    /// primary where one of those replicas is promoted. [`Durability::NONE`] asks for nothing where the client does.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # use lovage::Durability;
    /// # #[task] async fn charge(order: u64) {}
    /// # async fn f(client: Client) -> anyhow::Result<()> {
    /// client.send(charge(7)).durable(Durability::replicas(1)).await?;
    /// client.send(charge(8)).durable(Durability::replicas(1).fsync().within(ms(500))).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// What was stored and not confirmed in time is [`SendError::NotConfirmed`]. Sends of one queue that ask for the
    /// same go together and are confirmed together; sends that ask for nothing never wait behind them.
    ///
    /// # Redis
    /// `WAIT`, or `WAITAOF` for what is to be on disk, on a connection of its own. A server that cannot answer it
    /// is [`SendError::Misconfigured`], before anything is stored.
    pub fn durable(mut self, wanted: Durability) -> Self {
        self.manner.durability = Some(wanted);
        self
    }

    async fn send(self) -> Result<Handle<T>, SendError> {
        let id_was_chosen = chooses_id(&self.draft);
        let envelope = envelope(self.draft, &self.message, self.client.now())?;
        let encoded = envelope.encode()?;
        let span = tracing::debug_span!(
            telemetry::SPAN_SEND,
            otel.name = %format_args!("send {}", envelope.queue),
            otel.kind = "producer",
            messaging.system = telemetry::SYSTEM,
            messaging.operation.name = "send",
            messaging.operation.r#type = "send",
            messaging.destination.name = %envelope.queue,
            messaging.message.id = %envelope.id,
            lovage.task = T::NAME,
        );
        let kept = self
            .client
            .deliver(&envelope.queue, encoded, self.manner, T::NAME)
            .instrument(span)
            .await?;
        let handle = Handle::sent(self.client, &envelope);
        Ok(match kept {
            Kept::ByBroker(answer) => handle.answered(answer, id_was_chosen),
            #[cfg(feature = "spool")]
            Kept::Locally => handle.spooled_here(id_was_chosen || envelope.unique.is_some()),
        })
    }
}

impl<T: Task> IntoFuture for Sending<T> {
    type Output = Result<Handle<T>, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Sends the task.
    ///
    /// # Errors
    /// [`SendError::Unknown`] says that the task may have been accepted, [`SendError::NotConfirmed`] that it is stored
    /// and no more; every other error, that it certainly was not.
    ///
    /// # Cancel safety
    /// A future that is dropped may or may not have sent its task, as after [`SendError::Unknown`]. Sends of other
    /// callers that travel with it go on.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What can be sent in bulk: a message, or a send with options of its own.
pub trait IntoSending: sealed::Sealed {
    /// The task.
    type Task: Task;

    #[doc(hidden)]
    fn parts(self) -> (Self::Task, sealed::Parts);
}

mod sealed {
    pub trait Sealed {}
    #[derive(Debug, Default)]
    pub struct Parts(pub(crate) super::Draft, pub(crate) super::Manner);
}

impl<T: Task> sealed::Sealed for T {}
impl<T: Task> sealed::Sealed for Sending<T> {}

impl<T: Task> IntoSending for T {
    type Task = T;

    fn parts(self) -> (T, sealed::Parts) {
        (self, sealed::Parts::default())
    }
}

impl<T: Task> IntoSending for Sending<T> {
    type Task = T;

    fn parts(self) -> (T, sealed::Parts) {
        (self.message, sealed::Parts(self.draft, self.manner))
    }
}

/// Whether the id is the sender's, so that somebody may have sent it before.
pub(crate) fn chooses_id(draft: &Draft) -> bool {
    draft.id.is_some() || draft.idempotency_key.is_some()
}

/// The envelope of `message`, sent at `now`.
pub(crate) fn envelope<T: Task>(
    draft: Draft,
    message: &T,
    now: Millis,
) -> Result<Envelope, SendError> {
    draft
        .envelope(message, now)
        .map_err(|error| SendError::from_draft(error, T::NAME))
}
