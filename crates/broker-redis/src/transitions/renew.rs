//! `renew.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, QueueName, Renewal, WorkerId, span_ms};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::lease_field;
use crate::reply::{id, list, word};
use crate::script::{Script, script};

static RENEW: LazyLock<Script> = script!("renew", Run, ["now", "chunks", "envelope", "lease"]);

pub(crate) async fn renew(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    lease: Duration,
) -> Result<Renewal, BrokerError> {
    let keys = shared.keys(queue);
    let active = keys.active(worker);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&RENEW, |call| {
            call.keys(&[
                &keys.meta,
                &keys.identities,
                &keys.suspects,
                &keys.cancels,
                &active,
            ])
            .arg(&now)
            .arg(worker.to_string())
            .arg(lease_field(worker))
            .arg(span_ms(lease));
        })
        .await?;
    if word(&reply) == b"lost" {
        return Ok(Renewal::Lost);
    }
    let cancelled = list(reply).ok_or_else(|| unexpected("renew"))?;
    Ok(Renewal::Held {
        cancelled: cancelled.iter().filter_map(id).collect(),
    })
}
