//! The loop that sends what waits, queue by queue and in its order, as soon as the broker takes it.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{BATCH_MAX, Backoff, Durability, Encoded, EnqueueError, QueueName, ms, secs};
use tokio::time::{Instant, sleep_until};

use super::keeper::{Head, Keeper};
use super::{Entry, SpoolError};
use crate::any_broker::AnyBroker;
use crate::gather::{BATCH_BYTES_MAX, call};
use crate::retry::instant_in;

/// A broker that is back is found within two seconds.
const BACKOFF: Backoff = Backoff::exponential(ms(50)).cap(secs(2));
/// Nobody waits for this call, so it may take long.
const CALL_LIMIT: Duration = secs(30);
/// Why an at-most-once task is kept where it is.
const IN_DOUBT: &str = "it may run at most once, and may have been accepted: no answer came";

/// Where a queue is that did not take its tasks.
struct Stuck {
    failures: u32,
    retry_at: Instant,
}

/// What came of one look at a queue.
enum Moved {
    /// Something left it.
    Some,
    /// Nothing, and a later look may do better.
    None(String),
}

/// Runs until it is aborted.
pub(super) async fn run(keeper: Keeper, broker: AnyBroker) {
    let mut stuck: HashMap<QueueName, Stuck> = HashMap::new();
    loop {
        keeper.until_filled().await;
        let stats = keeper.stats();
        tracing::warn!(
            tasks = stats.tasks,
            bytes = stats.bytes,
            "tasks wait in the spool until the broker takes them"
        );
        loop {
            let queues = keeper.queues();
            if queues.is_empty() {
                break;
            }
            stuck.retain(|queue, _| queues.contains(queue));
            let mut wake: Option<Instant> = None;
            for queue in queues {
                let now = Instant::now();
                let retry_at = stuck.get(&queue).map(|stuck| stuck.retry_at);
                if let Some(at) = retry_at
                    && now < at
                {
                    wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    continue;
                }
                match send_some(&keeper, &broker, &queue).await {
                    Ok(Moved::Some) => {
                        if stuck.remove(&queue).is_some() {
                            tracing::info!(%queue, "tasks leave the spool again");
                        }
                        wake = Some(now);
                    }
                    Ok(Moved::None(why)) => {
                        let at = put_off(&mut stuck, &queue, &why);
                        wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    }
                    Err(error) => {
                        let at = put_off(&mut stuck, &queue, &error.to_string());
                        wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    }
                }
            }
            // Where something moved, the instant has passed.
            sleep_until(wake.unwrap_or_else(Instant::now)).await;
        }
        tracing::info!("the spool is empty: sends go to the broker again");
    }
}

fn put_off(stuck: &mut HashMap<QueueName, Stuck>, queue: &QueueName, why: &str) -> Instant {
    let failures = stuck.get(queue).map_or(0, |stuck| stuck.failures) + 1;
    if failures == 1 {
        tracing::warn!(%queue, why, "tasks stay in the spool; trying again until they are taken");
    }
    let retry_at = instant_in(BACKOFF.delay(failures, fastrand::f64()));
    stuck.insert(queue.clone(), Stuck { failures, retry_at });
    retry_at
}

async fn send_some(
    keeper: &Keeper,
    broker: &AnyBroker,
    queue: &QueueName,
) -> Result<Moved, SpoolError> {
    let head = keeper.head(queue, BATCH_MAX, BATCH_BYTES_MAX).await?;
    let Some((number, first)) = head.first() else {
        return Ok(Moved::None("its entries cannot be found".to_owned()));
    };
    match first {
        Err(reason) => {
            put_aside(keeper, queue, *number, reason.clone()).await?;
            Ok(Moved::Some)
        }
        Ok(entry) if entry.task.acks_early() => {
            send_once(keeper, broker, queue, *number, entry).await
        }
        Ok(entry) => {
            let wanted = entry.wanted;
            send_batch(keeper, broker, queue, batch(head, wanted), wanted).await
        }
    }
}

/// The entries at the head that may go in one call.
fn batch(head: Head, wanted: Durability) -> Vec<(u64, Encoded)> {
    let fits = |entry: &Entry| entry.wanted == wanted && !entry.task.acks_early();
    head.into_iter()
        .map_while(|(number, entry)| entry.ok().map(|entry| (number, entry)))
        .take_while(|(_, entry)| fits(entry))
        .map(|(number, entry)| (number, entry.task))
        .collect()
}

async fn send_batch(
    keeper: &Keeper,
    broker: &AnyBroker,
    queue: &QueueName,
    mut batch: Vec<(u64, Encoded)>,
    wanted: Durability,
) -> Result<Moved, SpoolError> {
    loop {
        let (numbers, tasks): (Vec<u64>, Vec<Encoded>) = batch.iter().cloned().unzip();
        let sent = call(broker, queue, tasks, wanted, instant_in(CALL_LIMIT)).await;
        match sent {
            Ok(receipts) if receipts.iter().all(|receipt| receipt.by.meets(&wanted)) => {
                // A producer that is killed before this sends them once more, by the same ids.
                keeper.remove(queue, numbers).await?;
                return Ok(Moved::Some);
            }
            Ok(_) => return Ok(Moved::None("they are stored and not confirmed".to_owned())),
            // The queue takes a batch whole or not at all: what fits goes.
            Err(EnqueueError::QueueFull { len, bound, .. }) if fits(len, bound, batch.len()) => {
                batch.truncate(usize::try_from(bound - len).unwrap_or(usize::MAX));
            }
            Err(
                error @ (EnqueueError::QueueFull { .. }
                | EnqueueError::Refused(_)
                | EnqueueError::Misconfigured(_)
                | EnqueueError::Unknown(_)),
            ) => return Ok(Moved::None(error.to_string())),
            // Refused for good. Which one it is shows alone, and it holds up no others then.
            Err(_) if 1 < batch.len() => batch.truncate(1),
            Err(error) => {
                put_aside(keeper, queue, numbers[0], error.to_string()).await?;
                return Ok(Moved::Some);
            }
        }
    }
}

/// Whether some of so many tasks fit, and not all.
fn fits(len: u64, bound: u64, tasks: usize) -> bool {
    len < bound && bound - len < tasks as u64
}

/// Sends an at-most-once task: set aside before it travels, so that nothing sends it again, a next process included,
/// where no answer comes.
async fn send_once(
    keeper: &Keeper,
    broker: &AnyBroker,
    queue: &QueueName,
    number: u64,
    entry: &Entry,
) -> Result<Moved, SpoolError> {
    let _travelling = keeper.travels();
    keeper.set_aside(queue, number, IN_DOUBT.to_owned()).await?;
    let tasks = vec![entry.task.clone()];
    match call(broker, queue, tasks, entry.wanted, instant_in(CALL_LIMIT)).await {
        Ok(_) => {
            keeper.forget(queue, number).await?;
            Ok(Moved::Some)
        }
        Err(
            error @ (EnqueueError::QueueFull { .. }
            | EnqueueError::Refused(_)
            | EnqueueError::Misconfigured(_)),
        ) => {
            keeper.put_back(queue, number).await?;
            Ok(Moved::None(error.to_string()))
        }
        Err(error) => {
            tracing::error!(%queue, id = %entry.task.id(), %error, "an at-most-once task stays aside in the spool");
            Ok(Moved::Some)
        }
    }
}

async fn put_aside(
    keeper: &Keeper,
    queue: &QueueName,
    number: u64,
    reason: String,
) -> Result<(), SpoolError> {
    tracing::error!(%queue, number, reason, "a task is set aside in the spool: it can never be sent");
    keeper.set_aside(queue, number, reason).await
}
