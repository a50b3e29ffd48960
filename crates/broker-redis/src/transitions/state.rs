//! `state.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Place, QueueName, TaskId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static STATE: LazyLock<Script> = script!("state", Run, []);

pub(crate) async fn state(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
) -> Result<Place, BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&STATE, |call| {
            call.keys(&[
                &keys.tasks,
                &keys.scheduled,
                &keys.dead,
                &keys.identities,
                &keys.actives,
            ])
            .arg(id.as_bytes());
        })
        .await?;
    match word(&reply) {
        b"gone" => Ok(Place::Gone),
        b"dead" => Ok(Place::Dead),
        b"scheduled" => Ok(Place::Scheduled),
        b"active" => Ok(Place::Active),
        b"ready" => Ok(Place::Ready),
        _ => Err(unexpected("state")),
    }
}
