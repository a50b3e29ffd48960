//! `revive_edited.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Encoded, Millis, QueueName, Revived};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{id, word};
use crate::script::{Script, script};

use super::enqueue_unique::lock_text;

static REVIVE_EDITED: LazyLock<Script> = script!(
    "revive_edited",
    Refuse,
    ["now", "chunks", "envelope", "places", "dead_bytes", "locks"]
);

pub(crate) async fn revive_edited(
    shared: &Shared,
    queue: &QueueName,
    died_at: Millis,
    task: &Encoded,
) -> Result<Revived, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.tasks,
        &keys.dead,
        &keys.reasons,
        &keys.facts,
        &keys.bell,
        &keys.scheduled,
        &keys.locks,
        &keys.uniques,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    names.push(&keys.callbacks);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&REVIVE_EDITED, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(task.id().as_bytes())
                .arg(died_at.get())
                .arg(&**task.bytes())
                .arg(task.unique().map(lock_text).unwrap_or_default());
        })
        .await?;
    match (word(&reply), &reply) {
        (b"revived", _) => Ok(Revived::Ready),
        (b"not_dead", _) => Ok(Revived::NotDead),
        (b"held", Value::Array(items)) => match items.get(1).and_then(id) {
            Some(holder) => Ok(Revived::Held(holder)),
            None => Err(unexpected("revive_edited")),
        },
        _ => Err(unexpected("revive_edited")),
    }
}
