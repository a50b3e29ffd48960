//! `scheduled.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, QueueName, Scheduled};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, id, instant, list};
use crate::script::{Script, script};

/// More than any set holds, and a rank that Redis reads.
const RANK_MAX: usize = u32::MAX as usize;

static SCHEDULED: LazyLock<Script> = script!("scheduled", Run, ["chunks"]);

pub(crate) async fn scheduled(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<Scheduled>, BrokerError> {
    let limit = limit.min(BATCH_MAX);
    if limit == 0 || RANK_MAX < offset {
        return Ok(Vec::new());
    }
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&SCHEDULED, |call| {
            call.keys(&[&keys.scheduled, &keys.tasks])
                .arg(offset)
                .arg(offset + limit - 1);
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("scheduled"))
}

fn read(reply: Value) -> Option<Vec<Scheduled>> {
    let mut lists = list(reply)?.into_iter();
    let dues = list(lists.next()?)?;
    let envelopes = list(lists.next()?)?;
    let tasks = dues
        .chunks_exact(2)
        .zip(envelopes)
        .filter_map(|(due, envelope)| {
            Some(Scheduled {
                id: id(&due[0])?,
                due: instant(&due[1])?,
                bytes: bytes(envelope).unwrap_or_default(),
            })
        })
        .collect();
    Some(tasks)
}
