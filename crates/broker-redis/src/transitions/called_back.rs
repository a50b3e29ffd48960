//! `called_back.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, Millis, QueueName, TaskId};

use crate::broker::Shared;
use crate::script::{Script, script};

static CALLED_BACK: LazyLock<Script> = script!("called_back", Run, ["chunks"]);

pub(crate) async fn called_back(
    shared: &Shared,
    queue: &QueueName,
    deaths: &[(TaskId, Millis)],
) -> Result<(), BrokerError> {
    let keys = shared.keys(queue);
    for part in deaths.chunks(BATCH_MAX) {
        shared
            .connection
            .run(&CALLED_BACK, |call| {
                call.keys(&[&keys.callbacks, &keys.dead]);
                for (id, died_at) in part {
                    call.arg(id.as_bytes()).arg(died_at.get());
                }
            })
            .await?;
    }
    Ok(())
}
