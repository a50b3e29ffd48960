//! Brings tasks from the outboxes to their queues: one queue does not hold up another, and each task arrives once
//! whoever brings it, how often and when.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{BATCH_MAX, CancellationToken, EnqueueError, QueueName, Schedules, ms, secs};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::stats::Shared;
use crate::trouble::{backoff, bounded, bounded_enqueue};

/// The most tasks in one forwarding.
const PAGE_MAX: NonZeroU16 = NonZeroU16::new(500).expect("it is not zero");
const _: () = assert!(PAGE_MAX.get() as usize <= BATCH_MAX);
/// The queues that are forwarded to at once; the others take their turns.
const QUEUES_AT_ONCE: usize = 32;
/// What the broker may take for one call.
const CALL_MAX: Duration = secs(5);
const PAUSE_MIN: Duration = ms(50);
const PAUSE_MAX: Duration = secs(5);

/// Forwards in the background, one task of the runtime a queue that has something to forward.
///
/// It ends with the last clone.
#[derive(Clone)]
pub(crate) struct Forwarder<B> {
    broker: B,
    shared: Arc<Shared>,
    /// The queues that are being forwarded to, and whether more has come for them meanwhile.
    running: Arc<Running>,
    turns: Arc<Semaphore>,
    stop: Arc<Stop>,
}

impl<B: Schedules> Forwarder<B> {
    pub(crate) fn new(broker: B, shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self {
            broker,
            shared,
            running: Arc::default(),
            turns: Arc::new(Semaphore::new(QUEUES_AT_ONCE)),
            stop: Arc::new(Stop(stop)),
        }
    }

    /// Cancelled when it has ended.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.0.clone()
    }

    /// Forwards what waits for `queue`. Never waits.
    pub(crate) fn kick(&self, queue: QueueName) {
        match lock(&self.running).entry(queue.clone()) {
            Entry::Occupied(mut more) => {
                more.insert(true);
                return;
            }
            Entry::Vacant(free) => free.insert(false),
        };
        let drain = Drain {
            broker: self.broker.clone(),
            shared: Arc::clone(&self.shared),
            turns: Arc::clone(&self.turns),
            queue: queue.clone(),
            failures: 0,
        };
        let (running, stop) = (Arc::clone(&self.running), self.stop.0.clone());
        self.shared.home.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => { lock(&running).remove(&queue); }
                () = drain.run(&running) => {}
            }
        });
    }
}

/// Ends what goes on in the background.
struct Stop(CancellationToken);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

type Running = Mutex<HashMap<QueueName, bool>>;

fn lock(running: &Running) -> MutexGuard<'_, HashMap<QueueName, bool>> {
    // No code that can panic runs under it.
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The forwarding to one queue.
struct Drain<B> {
    broker: B,
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
    queue: QueueName,
    failures: u32,
}

impl<B: Schedules> Drain<B> {
    /// Ends when nothing waits any more.
    async fn run(mut self, running: &Running) {
        loop {
            match self.all().await {
                Ok(()) => {
                    self.worked();
                    let mut running = lock(running);
                    match running.get_mut(&self.queue) {
                        Some(more) if *more => *more = false,
                        _ => {
                            running.remove(&self.queue);
                            return;
                        }
                    }
                }
                Err(error) => sleep(self.failed(&error)).await,
            }
        }
    }

    async fn all(&mut self) -> Result<(), EnqueueError> {
        let mut size = PAGE_MAX;
        loop {
            // A turn is a page: neither a queue that refuses nor one with a week of tasks keeps others waiting.
            let turn = self.turns.acquire().await;
            let page = forward_page(&self.broker, &self.queue, size).await;
            drop(turn);
            match page? {
                Page::Empty => return Ok(()),
                Page::Forwarded { stored, more } => {
                    self.worked();
                    self.shared.stats().forwarded += u64::try_from(stored).unwrap_or(u64::MAX);
                    if !more {
                        return Ok(());
                    }
                    size = PAGE_MAX;
                }
                Page::TooMany { fewer } => size = fewer,
            }
        }
    }

    fn failed(&mut self, error: &EnqueueError) -> Duration {
        self.shared.error();
        if self.failures == 0 {
            tracing::warn!(
                queue = %self.queue, %error,
                "cannot forward what schedules have sent; it is kept, and tried again"
            );
        }
        let pause = backoff(self.failures, PAUSE_MIN, PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn worked(&mut self) {
        if 0 < std::mem::take(&mut self.failures) {
            tracing::info!(queue = %self.queue, "forwarding again");
        }
    }
}

/// What came of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Nothing waits.
    Empty,
    /// It has reached its queue.
    Forwarded {
        /// How many the queue had not seen before.
        stored: usize,
        /// Whether more waits.
        more: bool,
    },
    /// The queue refuses so many; it may take this many.
    TooMany {
        /// Less than before.
        fewer: NonZeroU16,
    },
}

/// Forwards the head of an outbox, at most `max` tasks.
pub(crate) async fn forward_page<B: Schedules>(
    broker: &B,
    queue: &QueueName,
    max: NonZeroU16,
) -> Result<Page, EnqueueError> {
    let outgoing = bounded(CALL_MAX, broker.outbox(queue, max)).await?;
    let Some(last) = outgoing.last() else {
        return Ok(Page::Empty);
    };
    let (up_to, count) = (last.number, outgoing.len());
    match bounded_enqueue(CALL_MAX, broker.forward(queue, outgoing)).await {
        Ok(forwarded) => {
            let more = bounded(CALL_MAX, broker.forwarded(queue, up_to)).await?;
            let stored = forwarded.stored;
            Ok(Page::Forwarded { stored, more })
        }
        Err(error) => match fewer(count, &error) {
            Some(fewer) => Ok(Page::TooMany { fewer }),
            None => Err(error),
        },
    }
}

/// How many to try after `count` were refused; `None` if fewer make no difference.
fn fewer(count: usize, error: &EnqueueError) -> Option<NonZeroU16> {
    let fewer = match error {
        EnqueueError::QueueFull { len, bound, .. } => {
            // There is no room at all, unless the head of the page has arrived before: that one takes none.
            let room = usize::try_from(bound.saturating_sub(*len)).unwrap_or(usize::MAX);
            room.clamp(1, (count / 2).max(1))
        }
        EnqueueError::BatchTooLarge { .. } => count / 2,
        _ => return None,
    };
    if count <= fewer {
        return None;
    }
    u16::try_from(fewer).ok().and_then(NonZeroU16::new)
}
