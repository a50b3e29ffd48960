//! `dead_letters_summary.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, DeadLettersSummary, Millis, QueueName, Retention};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{Script, script};

static DEAD_LETTERS_SUMMARY: LazyLock<Script> = script!("dead_letters_summary", Run, ["now"]);

pub(crate) async fn dead_letters_summary(
    shared: &Shared,
    queue: &QueueName,
) -> Result<DeadLettersSummary, BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&DEAD_LETTERS_SUMMARY, |call| {
            call.keys(&[&keys.meta, &keys.dead]).arg(&now);
        })
        .await?;
    let items = list(reply).unwrap_or_default();
    let [now, count, bytes, cut, Value::BulkString(retention)] = items.as_slice() else {
        return Err(unexpected("dead_letters_summary"));
    };
    Ok(DeadLettersSummary {
        now: Millis::new(number(now).ok_or_else(|| unexpected("dead_letters_summary"))?),
        count: number(count).unwrap_or_default(),
        bytes: number(bytes).unwrap_or_default(),
        cut: number(cut).unwrap_or_default(),
        retention: retention_of(retention),
    })
}

fn retention_of(stored: &[u8]) -> Retention {
    let text = std::str::from_utf8(stored).unwrap_or_default();
    let mut limits = text.split(':').map(|limit| limit.parse().ok());
    let mut next = || limits.next().flatten();
    Retention {
        count: next(),
        age: next().map(Duration::from_millis),
        bytes: next(),
    }
}
