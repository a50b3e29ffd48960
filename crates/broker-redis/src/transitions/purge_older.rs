//! `purge_older.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, Purged, QueueName, span_ms};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{Script, script};

static PURGE_OLDER: LazyLock<Script> = script!(
    "purge_older",
    Run,
    ["now", "chunks", "places", "dead_bytes", "dead"]
);

pub(crate) async fn purge_older(
    shared: &Shared,
    queue: &QueueName,
    age: Duration,
) -> Result<Purged, BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&PURGE_OLDER, |call| {
            call.keys(&[
                &keys.meta,
                &keys.tasks,
                &keys.dead,
                &keys.reasons,
                &keys.facts,
                &keys.locks,
                &keys.callbacks,
            ])
            .arg(&now)
            .arg(span_ms(age));
        })
        .await?;
    let items = list(reply).unwrap_or_default();
    let [count, more] = items.as_slice() else {
        return Err(unexpected("purge_older"));
    };
    Ok(Purged {
        count: number(count).unwrap_or_default(),
        more: number(more) == Some(1),
    })
}
