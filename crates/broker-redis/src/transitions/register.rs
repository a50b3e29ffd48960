//! `register.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, QueueName, TransportError, WorkerId, span_ms};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::lease_field;
use crate::reply::word;
use crate::script::{Script, script};

static REGISTER: LazyLock<Script> =
    script!("register", Run, ["now", "envelope", "places", "lease"]);

pub(crate) async fn register(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    lease: Duration,
) -> Result<(), BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&REGISTER, |call| {
            call.keys(&[&keys.meta, &keys.identities, &keys.suspects])
                .arg(&now)
                .arg(worker.to_string())
                .arg(lease_field(worker))
                .arg(span_ms(lease));
        })
        .await?;
    match word(&reply) {
        b"registered" => Ok(()),
        b"lost" => Err(BrokerError::Refused(TransportError::new(format!(
            "worker {worker} was recovered: take a new identity"
        )))),
        _ => Err(unexpected("register")),
    }
}
