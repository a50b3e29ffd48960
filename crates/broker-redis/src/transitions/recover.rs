//! `recover.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, LOSSES_MAX, QueueName, Recovered, span_ms};

use crate::broker::{CANCELLED_KEPT, Shared};
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::{list, number};
use crate::script::{Script, script};

static RECOVER: LazyLock<Script> = script!(
    "recover",
    Run,
    ["now", "chunks", "envelope", "places", "outcome"]
);

pub(crate) async fn recover(
    shared: &Shared,
    queue: &QueueName,
    patience: Duration,
) -> Result<Recovered, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.identities,
        &keys.suspects,
        &keys.tasks,
        &keys.actives,
        &keys.facts,
        &keys.cancels,
        &keys.waiting,
        &keys.dead,
        &keys.reasons,
        &keys.results,
        &keys.bell,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    let now = shared.now();
    let reply = shared
        .connection
        .run(&RECOVER, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(span_ms(patience))
                .arg(LEASE_FIELDS)
                .arg(LOSSES_MAX)
                .arg(&shared.channels)
                .arg(span_ms(CANCELLED_KEPT));
        })
        .await?;
    let items = list(reply).unwrap_or_default();
    let [released, buried, more] = items.as_slice() else {
        return Err(unexpected("recover"));
    };
    Ok(Recovered {
        released: number(released).unwrap_or_default(),
        buried: number(buried).unwrap_or_default(),
        more: number(more) == Some(1),
    })
}
