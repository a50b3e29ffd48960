//! `retain.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName, Retention, span_ms};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static RETAIN: LazyLock<Script> = script!("retain", Run, ["places"]);

pub(crate) async fn retain(
    shared: &Shared,
    queue: &QueueName,
    retention: Retention,
) -> Result<(), BrokerError> {
    let keys = shared.keys(queue);
    let limit = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
    let stored = [retention.count, retention.age.map(span_ms), retention.bytes].map(limit);
    let reply = shared
        .connection
        .run(&RETAIN, |call| {
            call.keys(&[&keys.meta]).arg(stored.join(":"));
        })
        .await?;
    match word(&reply) {
        b"kept" => Ok(()),
        _ => Err(unexpected("retain")),
    }
}
