//! `revive.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName, TaskId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static REVIVE: LazyLock<Script> = script!("revive", Run, ["chunks", "envelope", "places"]);

pub(crate) async fn revive(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
) -> Result<bool, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.tasks,
        &keys.dead,
        &keys.reasons,
        &keys.facts,
        &keys.bell,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    let reply = shared
        .connection
        .run(&REVIVE, |call| {
            call.keys(&names).arg(id.as_bytes());
        })
        .await?;
    match word(&reply) {
        b"revived" => Ok(true),
        b"not_dead" => Ok(false),
        _ => Err(unexpected("revive")),
    }
}
