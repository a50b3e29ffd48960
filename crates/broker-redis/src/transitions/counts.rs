//! `counts.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Counts, QueueName};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{Script, script};

static COUNTS: LazyLock<Script> = script!("counts", Run, []);

pub(crate) async fn counts(shared: &Shared, queue: &QueueName) -> Result<Counts, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![&keys.scheduled, &keys.dead, &keys.identities, &keys.actives];
    names.extend(keys.ready.iter().map(String::as_str));
    let reply = shared
        .connection
        .run(&COUNTS, |call| {
            call.keys(&names);
        })
        .await?;
    let numbers: Option<Vec<u64>> = list(reply).unwrap_or_default().iter().map(number).collect();
    match numbers.as_deref() {
        Some(&[ready, scheduled, active, dead]) => Ok(Counts {
            ready,
            scheduled,
            active,
            dead,
        }),
        _ => Err(unexpected("counts")),
    }
}
