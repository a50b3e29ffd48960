//! Sends the callbacks that are owed for tasks that have failed for good: whoever buried them, and as often as it takes.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lovage_core::{
    BrokerError, Callbacks, CancellationToken, Encoded, EnqueueError, Millis, Owed, QueueName,
    TaskId, TransportError, secs,
};

use crate::settler::Trouble;
use crate::tenure::Seat;

/// The most that are looked at in one call.
const BATCH: NonZeroU16 = NonZeroU16::new(100).expect("it is not zero");

/// How long nobody else is shown what one worker is about to send: much longer than a call takes. Whoever comes after it
/// sends the same task once more, which runs twice only where the first has ended by then.
const PATIENCE: Duration = secs(10);

/// A task, and when it died.
type Death = (TaskId, Millis);

/// Sends what is owed whenever a seat is asked to: by the pump for what it has buried, by recovery for what others left.
pub(crate) struct Callers<B> {
    broker: B,
    seats: Arc<[Arc<Seat>]>,
}

impl<B: Callbacks> Callers<B> {
    pub(crate) fn new(broker: B, seats: Arc<[Arc<Seat>]>) -> Self {
        Self { broker, seats }
    }

    pub(crate) async fn run(self, ended: CancellationToken) {
        let calls = self.seats.iter().map(|seat| call_back(&self.broker, seat));
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            _ = join_all(calls) => {}
        }
    }
}

async fn call_back<B: Callbacks>(broker: &B, seat: &Seat) {
    let (mut trouble, queue) = (Trouble::default(), &seat.queue);
    loop {
        seat.callbacks_asked().await;
        loop {
            match round(broker, queue).await {
                Ok(0) => break,
                Ok(tasks) => {
                    trouble.worked(queue);
                    tracing::debug!(%queue, tasks, "called back for tasks that have failed for good");
                }
                Err(error) => {
                    // What was looked at is owed still, and recovery asks again when it may be looked at.
                    trouble.failed(queue, "call back", &error);
                    trouble.wait().await;
                    break;
                }
            }
        }
    }
}

/// Sends some callbacks, and answers how many were owed.
async fn round<B: Callbacks>(broker: &B, queue: &QueueName) -> Result<usize, BrokerError> {
    let owed = broker.owed(queue, BATCH, PATIENCE).await?;
    let (count, mut nobody) = (owed.len(), Vec::new());
    let mut by_queue: BTreeMap<QueueName, Vec<(Encoded, Death)>> = BTreeMap::new();
    for owed in owed {
        let death = (owed.letter.id, owed.letter.died_at);
        match message(&owed) {
            Some((to, task)) => by_queue.entry(to).or_default().push((task, death)),
            None => nobody.push(death),
        }
    }
    if !nobody.is_empty() {
        tracing::error!(%queue, tasks = nobody.len(), "dead letters cannot be read: nobody is called back for them");
        broker.called_back(queue, nobody).await?;
    }
    let mut failed = None;
    for (to, calls) in by_queue {
        let (tasks, deaths) = calls.into_iter().unzip();
        match broker.enqueue(&to, tasks).await {
            Ok(_) => broker.called_back(queue, deaths).await?,
            // One queue that is full is no reason not to call back by the others.
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(count), |error| Err(as_broker_error(error)))
}

fn message(owed: &Owed) -> Option<(QueueName, Encoded)> {
    let callback = owed.callback()?;
    let task = callback.encode().ok()?;
    Some((callback.queue, task))
}

fn as_broker_error(error: EnqueueError) -> BrokerError {
    match error {
        EnqueueError::Unknown(source) => BrokerError::Unknown(source),
        EnqueueError::Misconfigured(source) => BrokerError::Misconfigured(source),
        other => BrokerError::Refused(TransportError::new(other)),
    }
}
