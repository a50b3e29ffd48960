//! `forwarded.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static FORWARDED: LazyLock<Script> = script!("forwarded", Run, ["chunks", "places", "entries"]);

pub(crate) async fn forwarded(
    shared: &Shared,
    queue: &QueueName,
    up_to: u64,
) -> Result<bool, BrokerError> {
    let keys = &shared.beat;
    let outbox = keys.outbox(queue);
    let reply = shared
        .connection
        .run(&FORWARDED, |call| {
            call.keys(&[&outbox, &keys.outboxes, &keys.meta])
                .arg(queue.as_str())
                .arg(up_to);
        })
        .await?;
    match word(&reply) {
        b"more" => Ok(true),
        b"empty" => Ok(false),
        _ => Err(unexpected("forwarded")),
    }
}
