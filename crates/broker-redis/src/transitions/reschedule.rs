//! `reschedule.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Millis, QueueName, Rescheduled, TaskId, When, span_ms};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number, word};
use crate::script::{Script, script};

/// Runs in a full Redis as well: it changes a score.
static RESCHEDULE: LazyLock<Script> =
    script!("reschedule", Run, ["now", "chunks", "envelope", "places"]);

pub(crate) async fn reschedule(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
    when: When,
) -> Result<Rescheduled, BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let (counted_from, ms) = match when {
        When::In(span) => ("in", span_ms(span)),
        When::At(instant) => ("at", instant.get()),
    };
    let reply = shared
        .connection
        .run(&RESCHEDULE, |call| {
            call.keys(&[&keys.scheduled, &keys.bell])
                .arg(&now)
                .arg(id.as_bytes())
                .arg(counted_from)
                .arg(ms);
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("reschedule"))
}

fn read(reply: Value) -> Option<Rescheduled> {
    match word(&reply) {
        b"moved" => {
            let due = number(list(reply)?.get(1)?)?;
            Some(Rescheduled::Moved(Millis::new(due)))
        }
        b"not_scheduled" => Some(Rescheduled::NotScheduled),
        _ => None,
    }
}
