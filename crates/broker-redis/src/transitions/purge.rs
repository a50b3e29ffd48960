//! `purge.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName, TaskId};

use super::revive::check_batch;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{Script, script};

static PURGE: LazyLock<Script> = script!(
    "purge",
    Run,
    ["now", "chunks", "places", "dead_bytes", "dead"]
);

pub(crate) async fn purge(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<bool>, BrokerError> {
    check_batch("ids", ids.len())?;
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&PURGE, |call| {
            call.keys(&[
                &keys.meta,
                &keys.tasks,
                &keys.dead,
                &keys.reasons,
                &keys.facts,
                &keys.locks,
                &keys.callbacks,
            ]);
            for id in ids {
                call.arg(id.as_bytes());
            }
        })
        .await?;
    match list(reply) {
        Some(items) if items.len() == ids.len() => {
            Ok(items.iter().map(|item| number(item) == Some(1)).collect())
        }
        _ => Err(unexpected("purge")),
    }
}
