//! Sends the callbacks that are owed for tasks that have failed for good: whoever buried them, and as often as it takes.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lovage_core::{
    BrokerError, Callbacks, CancellationToken, Encoded, EnqueueError, Millis, Owed, QueueName,
    TaskId, TransportError, hours, secs,
};
use tokio::time::{Instant, timeout};

use crate::shutdown::RETIRE_MAX;
use crate::tenure::Seat;
use crate::trouble::Trouble;

/// The most that are looked at in one call.
const BATCH: NonZeroU16 = NonZeroU16::new(100).expect("it is not zero");

/// How long nobody else is shown what one worker is about to send: much longer than a call takes.
const PATIENCE: Duration = secs(10);
/// A callback whose sender is killed, or cut off, before it is noted is sent once more. For so long it is the same task,
/// whatever has become of it.
const REMEMBERED: Duration = hours(1);

/// A task, and when it died.
type Death = (TaskId, Millis);
/// A callback, and for which death.
type Call = (Encoded, Death);

/// Sends what is owed whenever a seat is asked to: by the pump for what it has buried, by recovery for what others left.
pub(crate) struct Callers<B> {
    broker: B,
    seats: Arc<[Arc<Seat>]>,
}

impl<B: Callbacks> Callers<B> {
    pub(crate) fn new(broker: B, seats: Arc<[Arc<Seat>]>) -> Self {
        Self { broker, seats }
    }

    /// Runs until `ended`, and on until what was sent by then is noted: else another worker would send it again.
    pub(crate) async fn run(self, ended: CancellationToken) {
        let callers = self.seats.iter().map(|seat| {
            let caller = Caller {
                broker: &self.broker,
                seat,
                queue: &seat.queue,
                ended: &ended,
                refusing: BTreeMap::new(),
            };
            caller.run()
        });
        let mut calls = pin!(join_all(callers));
        tokio::select! {
            biased;
            _ = &mut calls => {}
            () = ended.cancelled() => drop(timeout(RETIRE_MAX, calls).await),
        }
    }
}

/// Sends the callbacks that are owed in one queue.
struct Caller<'a, B> {
    broker: &'a B,
    seat: &'a Seat,
    queue: &'a QueueName,
    ended: &'a CancellationToken,
    /// The queues of callbacks that did not take all: they are left alone for a while.
    refusing: BTreeMap<QueueName, Trouble>,
}

impl<B: Callbacks> Caller<'_, B> {
    async fn run(mut self) {
        let (seat, ended) = (self.seat, self.ended);
        let mut trouble = seat.uncounted_trouble();
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = seat.callbacks_asked() => {}
            }
            while !ended.is_cancelled() {
                match self.page().await {
                    Ok(count) => {
                        trouble.worked(self.queue);
                        if count == 0 {
                            break;
                        }
                    }
                    Err(error) => {
                        // What was looked at is owed still, and recovery asks again when it may be looked at.
                        trouble.failed(self.queue, "call back", &error);
                        ended.run_until_cancelled(trouble.wait()).await;
                        break;
                    }
                }
            }
        }
    }

    /// Sends some callbacks, and answers how many were owed. What is not sent is owed still: recovery asks for it when
    /// it may be looked at again.
    async fn page(&mut self) -> Result<usize, BrokerError> {
        let owed = self.broker.owed(self.queue, BATCH, PATIENCE).await?;
        let (count, mut nobody) = (owed.len(), Vec::new());
        let mut by_queue: BTreeMap<QueueName, Vec<Call>> = BTreeMap::new();
        for owed in owed {
            let death = (owed.letter.id, owed.letter.died_at);
            match message(&owed) {
                Some((to, task)) => by_queue.entry(to).or_default().push((task, death)),
                None => nobody.push(death),
            }
        }
        if !nobody.is_empty() {
            tracing::error!(queue = %self.queue, tasks = nobody.len(), "dead letters cannot be read: nobody is called back for them");
            self.broker.called_back(self.queue, nobody).await?;
        }
        for (to, calls) in by_queue {
            if self.ended.is_cancelled() {
                break;
            }
            let refusing = self.refusing.get(&to);
            if refusing.is_some_and(|trouble| trouble.paused_until(Instant::now()).is_some()) {
                continue;
            }
            let (sent, refused) = self.send(&to, calls).await;
            if !sent.is_empty() {
                tracing::debug!(queue = %self.queue, %to, tasks = sent.len(), "called back for tasks that have failed for good");
                self.broker.called_back(self.queue, sent).await?;
            }
            match refused {
                Some(error) => {
                    let trouble = self.refusing.entry(to.clone());
                    let trouble = trouble.or_insert_with(|| self.seat.uncounted_trouble());
                    trouble.failed(&to, "call back", &as_broker_error(error));
                }
                None => {
                    if let Some(mut trouble) = self.refusing.remove(&to) {
                        trouble.worked(&to);
                    }
                }
            }
        }
        Ok(count)
    }

    /// Sends callbacks to one queue, and answers for which deaths they are there, and why the others are not.
    async fn send(
        &self,
        to: &QueueName,
        mut calls: Vec<Call>,
    ) -> (Vec<Death>, Option<EnqueueError>) {
        let mut sent = Vec::new();
        let tasks = calls.iter().map(|(task, _)| task.clone()).collect();
        let error = match self.broker.enqueue(to, tasks).await {
            Ok(_) => return (calls.into_iter().map(|(_, death)| death).collect(), None),
            Err(EnqueueError::InPart { answers, error, .. }) => {
                let mut answers = answers.into_iter();
                calls.retain(|(_, death)| {
                    let taken = answers.next().flatten().is_some();
                    sent.extend(taken.then_some(*death));
                    !taken
                });
                *error
            }
            Err(error) => error,
        };
        if !matches!(error, EnqueueError::QueueFull { .. }) || calls.len() == 1 {
            return (sent, Some(error));
        }
        // A full queue takes a batch whole or not at all. One by one those go that find room, or are there already.
        let mut refused = None;
        for (task, death) in calls {
            // What was sent is to be noted before the worker is gone.
            if self.ended.is_cancelled() {
                return (sent, Some(error));
            }
            match self.broker.enqueue(to, vec![task]).await {
                Ok(_) => sent.push(death),
                Err(error @ EnqueueError::QueueFull { .. }) => refused = Some(error),
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, refused)
    }
}

fn message(owed: &Owed) -> Option<(QueueName, Encoded)> {
    let callback = owed.callback()?;
    let task = callback.encode().ok()?;
    Some((callback.queue, task.remembered_for(REMEMBERED)))
}

fn as_broker_error(error: EnqueueError) -> BrokerError {
    match error {
        EnqueueError::Unknown(source) => BrokerError::Unknown(source),
        EnqueueError::Misconfigured(source) => BrokerError::Misconfigured(source),
        other => BrokerError::Refused(TransportError::new(other)),
    }
}
