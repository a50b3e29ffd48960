//! A task that was sent, as its sender holds it.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Awaited, Backoff, BrokerError, Cancelled, Control, Enqueued, Envelope, Inspect, Outcome, Place,
    QueueName, Rescheduled, Results, Task, TaskId, When, ms,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::WaitError;
use crate::retry::instant_in;

/// The wire form of `()`.
const NIL: &[u8] = b"\xc0";

/// A broker that is away is asked again after this.
const BACKOFF: Backoff = Backoff::exponential(ms(20)).cap(ms(500));

/// A task that was sent: wait for its result, look where it is, cancel it, give it another time. Cheap to clone; holds nothing in the
/// broker, and dropping it changes nothing.
pub struct Handle<T> {
    client: Client,
    queue: QueueName,
    id: TaskId,
    keeps_result: bool,
    #[cfg(feature = "spool")]
    spooled: bool,
    is_new: bool,
    task: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(crate) fn sent(client: Client, envelope: &Envelope) -> Self {
        Self {
            keeps_result: envelope.result_ttl.is_some(),
            is_new: true,
            ..Self::rebuilt(client, envelope.queue.clone(), envelope.id)
        }
    }

    /// The handle of what the queue made of the send. An id that we made up meets itself only where an answer was lost and
    /// the send repeated: the task is new all the same.
    pub(crate) fn answered(self, answer: Enqueued, id_was_chosen: bool) -> Self {
        match answer {
            Enqueued::New => self,
            Enqueued::Duplicate => Self {
                is_new: !id_was_chosen,
                ..self
            },
            Enqueued::Existing(id) => Self {
                id,
                keeps_result: true,
                is_new: false,
                ..self
            },
            Enqueued::Replaced(id) => Self {
                id,
                is_new: false,
                ..self
            },
        }
    }

    pub(crate) fn rebuilt(client: Client, queue: QueueName, id: TaskId) -> Self {
        Self {
            client,
            queue,
            id,
            keeps_result: true,
            #[cfg(feature = "spool")]
            spooled: false,
            is_new: false,
            task: PhantomData,
        }
    }

    /// Whether the send made this task. `false` where it was there already: another one held the key of a unique task, an
    /// idempotency key was used before, or the id lived; also where that one was replaced by what was sent. Where such a
    /// send [waits on this host](crate::SpoolConfig) it is `false` as well: what the queue will make of it nobody knows.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The task's identity.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The queue it was sent to.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Whether the send was answered by this host's spool instead of the broker: the task is on disk here, and reaches
    /// the broker when that takes it. Until then the queue does not know it: [`state`](Self::state) is [`Place::Gone`],
    /// [`wait`](Handle::wait) answers [`WaitError::Unknown`], and it cannot be cancelled. So it stays where the queue then
    /// has another task of its unique or idempotency key: what is sent is answered to nobody here.
    #[cfg(feature = "spool")]
    pub fn is_spooled(&self) -> bool {
        self.spooled
    }

    #[cfg(feature = "spool")]
    pub(crate) fn was_spooled(&mut self, may_be_known: bool) {
        self.spooled = true;
        self.is_new = !may_be_known;
    }

    #[cfg(feature = "spool")]
    pub(crate) fn spooled_here(mut self, may_be_known: bool) -> Self {
        self.was_spooled(may_be_known);
        self
    }

    /// Where the task is. One that has ended is [`Place::Gone`] or [`Place::Dead`]; how it ended,
    /// [`wait`](Handle::wait) tells.
    pub async fn state(&self) -> Result<Place, BrokerError> {
        let broker = self.client.broker();
        self.client
            .within(|| broker.state(&self.queue, self.id))
            .await
    }

    /// Cancels the task: gone if it is ready, scheduled or dead; asked to stop if it runs, and then not run again.
    pub async fn cancel(&self) -> Result<Cancelled, BrokerError> {
        let broker = self.client.broker();
        self.client
            .within(|| broker.cancel(&self.queue, self.id))
            .await
    }

    /// Lets the task be due at another time, earlier or later, if it waits for one: after a countdown, for an ETA, or
    /// for its next attempt.
    ///
    /// `When::In(span)` counts from when the broker accepts the change, `When::At(instant)` is by the broker's clock;
    /// both to the millisecond, parts of one rounded up. An instant that has passed is at once, one beyond
    /// [`Millis::MAX`](lovage_core::Millis::MAX) is that. An expiry stays as it was sent. While workers are busy a due
    /// task may still be moved; one that is ready, runs or has ended is left as it is.
    ///
    /// ```
    /// # use lovage::prelude::*;
    /// # use lovage::{Rescheduled, When};
    /// # #[task] async fn greet(name: String) {}
    /// # async fn f(client: Client) -> anyhow::Result<()> {
    /// let greeting = client.send(greet("Ada")).countdown(mins(5)).await?;
    /// match greeting.reschedule(When::In(hours(2))).await? {
    ///     Rescheduled::Moved(due) => println!("it is due at {due}"),
    ///     Rescheduled::NotScheduled => println!("it does not wait for its time any more"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BrokerError::Unknown`] if no answer came: it may be due then. Asking again is safe, and a span counts anew.
    pub async fn reschedule(&self, when: When) -> Result<Rescheduled, BrokerError> {
        let broker = self.client.broker();
        self.client
            .within(|| broker.reschedule(&self.queue, self.id, when))
            .await
    }
}

impl<T: Task> Handle<T> {
    /// Waits until the task has ended, at most `at_most`, and answers what its body answered.
    ///
    /// The end is pushed by the broker; all waits of one client share a subscription. While the broker is away the
    /// wait goes on.
    ///
    /// Of a task sent with `ignore_result` no value is kept. A wait that is there when it ends still learns of its
    /// failure, and of its success if its output is `()`; any other end is [`WaitError::NotKept`].
    ///
    /// # Errors
    /// [`WaitError::Failed`], [`WaitError::Cancelled`] and [`WaitError::Expired`] say how the task ended,
    /// [`WaitError::TimedOut`] that it has not. The others say why that is not known.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait(&self, at_most: Duration) -> Result<T::Output, WaitError> {
        match self.awaited(instant_in(at_most)).await? {
            Awaited::Outcome(bytes) => read::<T::Output>(&bytes),
            Awaited::Unknown if !self.keeps_result => Err(WaitError::NotKept),
            Awaited::Unknown => Err(WaitError::Unknown),
            Awaited::TimedOut => Err(WaitError::TimedOut),
        }
    }

    async fn awaited(&self, deadline: Instant) -> Result<Awaited, BrokerError> {
        let mut failures = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.client.broker().outcome(&self.queue, self.id, left);
            match answer.await {
                Err(error @ (BrokerError::Unknown(_) | BrokerError::Refused(_))) => {
                    failures += 1;
                    let pause = BACKOFF.delay(failures, fastrand::f64());
                    if deadline <= Instant::now() + pause {
                        return Err(error);
                    }
                    sleep(pause).await;
                }
                answer => return answer,
            }
        }
    }
}

fn read<Output: DeserializeOwned + 'static>(bytes: &Bytes) -> Result<Output, WaitError> {
    let decode = |error: rmp_serde::decode::Error| WaitError::Decode {
        reason: error.to_string(),
    };
    match Outcome::decode(bytes).map_err(decode)? {
        Outcome::Done(value) if !value.is_empty() => rmp_serde::from_slice(&value).map_err(decode),
        Outcome::Done(_) if TypeId::of::<Output>() == TypeId::of::<()>() => {
            rmp_serde::from_slice(NIL).map_err(decode)
        }
        Outcome::Done(_) => Err(WaitError::NotKept),
        Outcome::Failed(failure) => Err(WaitError::Failed(failure)),
        Outcome::Cancelled => Err(WaitError::Cancelled),
        Outcome::Expired => Err(WaitError::Expired),
        other => Err(WaitError::Decode {
            reason: format!("an end of a kind that this version does not know: {other:?}"),
        }),
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            queue: self.queue.clone(),
            id: self.id,
            keeps_result: self.keeps_result,
            #[cfg(feature = "spool")]
            spooled: self.spooled,
            is_new: self.is_new,
            task: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} in {})", self.id, self.queue)
    }
}
