//! `revive.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, QueueName, Revived, TaskId, TransportError};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{id, list, number};
use crate::script::{Script, script};
use redis::Value;

static REVIVE: LazyLock<Script> = script!(
    "revive",
    Run,
    ["now", "chunks", "envelope", "places", "dead_bytes", "locks"]
);

/// Calls until all are answered: a call takes fewer where the envelopes are large.
pub(crate) async fn revive(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<Revived>, BrokerError> {
    check_batch("ids", ids.len())?;
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.tasks,
        &keys.dead,
        &keys.reasons,
        &keys.facts,
        &keys.bell,
        &keys.locks,
        &keys.uniques,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    names.push(&keys.callbacks);
    let now = shared.now();
    let mut answers = Vec::with_capacity(ids.len());
    while answers.len() < ids.len() {
        let left = &ids[answers.len()..];
        let reply = shared
            .connection
            .run(&REVIVE, |call| {
                call.keys(&names).arg(&now);
                for id in left {
                    call.arg(id.as_bytes());
                }
            })
            .await?;
        let items = list(reply).unwrap_or_default();
        if items.is_empty() || left.len() < items.len() {
            return Err(unexpected("revive"));
        }
        answers.extend(items.iter().map(read));
    }
    Ok(answers)
}

fn read(item: &Value) -> Revived {
    match (number(item), id(item)) {
        (_, Some(holder)) => Revived::Held(holder),
        (Some(1), None) => Revived::Ready,
        _ => Revived::NotDead,
    }
}

/// Refuses more than one call may carry.
pub(super) fn check_batch(what: &str, count: usize) -> Result<(), BrokerError> {
    if count <= BATCH_MAX {
        return Ok(());
    }
    Err(BrokerError::Refused(TransportError::new(format!(
        "{count} {what} in one call, the limit is {BATCH_MAX}"
    ))))
}
