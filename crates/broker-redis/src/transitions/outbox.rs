//! `outbox.lua`.

use std::num::NonZeroU16;
use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{BATCH_MAX, BrokerError, Outgoing, QueueName, TaskId};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, count, list};
use crate::script::{Script, script};

static OUTBOX: LazyLock<Script> = script!("outbox", Run, ["chunks", "places", "entries"]);

pub(crate) async fn outbox(
    shared: &Shared,
    queue: &QueueName,
    max: NonZeroU16,
) -> Result<Vec<Outgoing>, BrokerError> {
    let keys = &shared.beat;
    let outbox = keys.outbox(queue);
    let reply = shared
        .connection
        .run(&OUTBOX, |call| {
            call.keys(&[&outbox, &keys.outboxes, &keys.meta])
                .arg(queue.as_str())
                .arg(usize::from(max.get()).min(BATCH_MAX));
        })
        .await?;
    let (entries, rubbish) = read(reply).ok_or_else(|| unexpected("outbox"))?;
    if 0 < rubbish {
        tracing::warn!(%queue, rubbish, "dropped what was no task from an outbox");
    }
    Ok(entries)
}

fn read(reply: Value) -> Option<(Vec<Outgoing>, usize)> {
    let mut items = list(reply)?.into_iter();
    let entries = list(items.next()?)?;
    let rubbish = count(&items.next()?)?;
    let entries: Option<Vec<Outgoing>> = entries
        .into_iter()
        .map(|entry| read_entry(&bytes(entry)?))
        .collect();
    Some((entries?, rubbish))
}

fn read_entry(entry: &Bytes) -> Option<Outgoing> {
    let (number, rest) = entry.split_first_chunk()?;
    let (id, envelope) = rest.split_first_chunk()?;
    Some(Outgoing {
        number: u64::from_be_bytes(*number),
        id: TaskId::from_bytes(*id),
        bytes: entry.slice_ref(envelope),
    })
}
