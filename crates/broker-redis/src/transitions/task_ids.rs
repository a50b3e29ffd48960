//! `task_ids.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::script::{Script, script};

static TASK_IDS: LazyLock<Script> = script!("task_ids", Look, ["places"]);

/// As a scan answers: the next cursor, and ids.
pub(crate) async fn task_ids(
    shared: &Shared,
    queue: &QueueName,
    from: u64,
) -> Result<Value, BrokerError> {
    let keys = shared.keys(queue);
    shared
        .connection
        .run(&TASK_IDS, |call| {
            call.keys(&[&keys.tasks, &keys.meta]).arg(from);
        })
        .await
}
