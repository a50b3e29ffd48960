//! `outcome.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{BrokerError, Failure, QueueName, TaskId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, list, word};
use crate::script::{Script, script};

static OUTCOME: LazyLock<Script> = script!("outcome", Run, ["outcome"]);

/// What Redis knows of a task's end.
pub(crate) enum Asked {
    /// How it ended.
    Ended(Bytes),
    /// It lives, and this handle will be told.
    Waiting,
    /// There is no such task, and no outcome of it.
    Unknown,
}

pub(crate) async fn outcome(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
    handle: &str,
) -> Result<Asked, BrokerError> {
    let keys = shared.keys(queue);
    let result = keys.result(id);
    let reply = shared
        .connection
        .run(&OUTCOME, |call| {
            call.keys(&[
                &result,
                &keys.tasks,
                &keys.dead,
                &keys.reasons,
                &keys.waiting,
            ])
            .arg(id.as_bytes())
            .arg(handle);
        })
        .await?;
    match word(&reply) {
        b"ended" => list(reply)
            .and_then(|mut items| items.pop())
            .and_then(bytes)
            .map(|outcome| Asked::Ended(told(&outcome)))
            .ok_or_else(|| unexpected("outcome")),
        b"waiting" => Ok(Asked::Waiting),
        b"unknown" => Ok(Asked::Unknown),
        _ => Err(unexpected("outcome")),
    }
}

/// A dead letter answers with its record, behind which stands what is known of its run: that is for operators.
fn told(outcome: &Bytes) -> Bytes {
    outcome.slice(..Failure::told(outcome).len())
}
