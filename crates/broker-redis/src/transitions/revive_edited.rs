//! `revive_edited.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Encoded, Millis, QueueName};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

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
) -> Result<bool, BrokerError> {
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
                .arg(&**task.bytes());
        })
        .await?;
    match word(&reply) {
        b"revived" => Ok(true),
        b"not_dead" | b"held" => Ok(false),
        _ => Err(unexpected("revive_edited")),
    }
}
