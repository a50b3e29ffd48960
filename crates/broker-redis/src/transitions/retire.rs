//! `retire.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName, WorkerId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::lease_field;
use crate::reply::word;
use crate::script::{Script, script};

static RETIRE: LazyLock<Script> = script!("retire", Run, ["places"]);

pub(crate) async fn retire(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
) -> Result<bool, BrokerError> {
    let keys = shared.keys(queue);
    let active = keys.active(worker);
    let reply = shared
        .connection
        .run(&RETIRE, |call| {
            call.keys(&[
                &keys.meta,
                &keys.identities,
                &keys.suspects,
                &active,
                &keys.reports,
            ])
            .arg(worker.to_string())
            .arg(lease_field(worker));
        })
        .await?;
    match word(&reply) {
        b"retired" => Ok(true),
        b"holds" => Ok(false),
        _ => Err(unexpected("retire")),
    }
}
