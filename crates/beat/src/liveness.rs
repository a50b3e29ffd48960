//! Finds out which last runs live, for the schedules that ask.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{
    BATCH_MAX, BrokerError, Inspect, Place, QueueName, ScheduleName, Schedules, TaskId,
    TransportError, secs,
};
use tokio::task::JoinSet;

use crate::plan::Previous;
use crate::policies::Overlap;
use crate::state::Record;
use crate::trouble::bounded;

const OUTBOX_PAGE: NonZeroU16 = NonZeroU16::new(1000).expect("it is not zero");
const _: () = assert!(OUTBOX_PAGE.get() as usize <= BATCH_MAX);
/// An outbox whose page is smaller than this was read whole.
const PAGE_BYTES_WHOLE: usize = 1024 * 1024;
/// The runs that are looked for at once.
const LOOKS_AT_ONCE: usize = 32;
const CALL_MAX: Duration = secs(2);

/// Which last runs live, by the names of their schedules; those that do not ask, and those whose run could not be
/// looked for, are not there.
pub(crate) type Lives = HashMap<ScheduleName, Result<Previous, BrokerError>>;

/// The runs that a plan for it needs to know about: the last, and those that were live when it was run by hand.
fn asks(record: &Record) -> impl Iterator<Item = (QueueName, TaskId)> {
    let state = &record.state;
    let asks = record.entry.schedule.overlap_policy() != Overlap::Allow && state.paused.is_none();
    let runs = state.earlier.iter().chain(&state.last);
    runs.filter(move |_| asks)
        .map(|run| (run.queue.clone(), run.id))
}

/// What is known of several runs of one schedule: that one lives is enough.
fn both(
    one: Result<Previous, BrokerError>,
    other: Result<Previous, BrokerError>,
) -> Result<Previous, BrokerError> {
    match (one, other) {
        (live @ Ok(Previous::Live(_)), _) | (_, live @ Ok(Previous::Live(_))) => live,
        (Err(error), _) | (_, Err(error)) => Err(error),
        _ => Ok(Previous::Ended),
    }
}

/// Looks for the last runs of `records`, where `outboxes` are the queues for which something waited.
pub(crate) async fn look<'a, B: Schedules + Inspect>(
    broker: &B,
    records: impl Iterator<Item = &'a Record>,
    outboxes: &[QueueName],
) -> Lives {
    let wanted: Vec<(ScheduleName, QueueName, TaskId)> = records
        .flat_map(|record| asks(record).map(|(queue, id)| (record.entry.name.clone(), queue, id)))
        .collect();
    let mut heads = HashMap::new();
    for (_, queue, _) in &wanted {
        // So many are named at most: there may be others.
        let may_wait = outboxes.contains(queue) || BATCH_MAX <= outboxes.len();
        if may_wait && !heads.contains_key(queue) {
            // The outbox first: what is not in it any more has reached its queue, where the second look finds it.
            heads.insert(queue.clone(), Arc::new(head(broker, queue).await));
        }
    }
    let mut lives = Lives::new();
    for part in wanted.chunks(LOOKS_AT_ONCE) {
        let mut looks = JoinSet::new();
        for (name, queue, id) in part.iter().cloned() {
            let (broker, head) = (broker.clone(), heads.get(&queue).cloned());
            looks.spawn(async move {
                let seen = run(&broker, &queue, id, head.as_deref()).await;
                (name, seen)
            });
        }
        while let Some(look) = looks.join_next().await {
            // A look that panicked is missing.
            let Ok((name, seen)) = look else { continue };
            let seen = match lives.remove(&name) {
                Some(other) => both(other, seen),
                None => seen,
            };
            lives.insert(name, seen);
        }
    }
    lives
}

/// What is known of the head of an outbox.
struct Head {
    ids: HashSet<TaskId>,
    is_all: bool,
}

async fn head<B: Schedules>(broker: &B, queue: &QueueName) -> Result<Head, BrokerError> {
    let page = bounded(CALL_MAX, broker.outbox(queue, OUTBOX_PAGE)).await?;
    let bytes: usize = page.iter().map(|outgoing| outgoing.bytes.len()).sum();
    Ok(Head {
        is_all: page.len() < usize::from(OUTBOX_PAGE.get()) && bytes < PAGE_BYTES_WHOLE,
        ids: page.iter().map(|outgoing| outgoing.id).collect(),
    })
}

async fn run<B: Inspect>(
    broker: &B,
    queue: &QueueName,
    id: TaskId,
    head: Option<&Result<Head, BrokerError>>,
) -> Result<Previous, BrokerError> {
    let (in_head, is_all) = match head {
        None => (false, true),
        Some(Ok(head)) => (head.ids.contains(&id), head.is_all),
        Some(Err(error)) => {
            let error = TransportError::new(format!("the outbox of {queue}: {error}"));
            return Err(BrokerError::Unknown(error));
        }
    };
    if in_head {
        return Ok(Previous::Live(id));
    }
    Ok(match bounded(CALL_MAX, broker.state(queue, id)).await? {
        Place::Scheduled | Place::Ready | Place::Active => Previous::Live(id),
        // Further behind in a long outbox, perhaps. It is looked for again soon.
        Place::Dead | Place::Gone if !is_all => Previous::Live(id),
        Place::Dead | Place::Gone => Previous::Ended,
    })
}
