//! `cancel.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Cancelled, QueueName, TaskId, span_ms};

use crate::broker::{CANCELLED_KEPT, Shared};
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static CANCEL: LazyLock<Script> = script!(
    "cancel",
    Run,
    [
        "now",
        "chunks",
        "envelope",
        "places",
        "outcome",
        "dead_bytes",
        "locks"
    ]
);

pub(crate) async fn cancel(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
) -> Result<Cancelled, BrokerError> {
    let keys = shared.keys(queue);
    let result = keys.result(id);
    let reply = shared
        .connection
        .run(&CANCEL, |call| {
            call.keys(&[
                &keys.tasks,
                &keys.scheduled,
                &keys.dead,
                &keys.reasons,
                &keys.facts,
                &keys.cancels,
                &keys.ghosts,
                &keys.waiting,
                &keys.meta,
                &keys.identities,
                &keys.actives,
                &result,
                &keys.locks,
                &keys.uniques,
                &keys.callbacks,
            ])
            .arg(id.as_bytes())
            .arg(&shared.channels)
            .arg(span_ms(CANCELLED_KEPT));
        })
        .await?;
    match word(&reply) {
        b"removed" => Ok(Cancelled::Removed),
        b"marked" => Ok(Cancelled::Marked),
        b"unknown" => Ok(Cancelled::Unknown),
        _ => Err(unexpected("cancel")),
    }
}
