//! `look.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, Millis, WorkerId};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::unexpected;
use crate::keys::lease_field;
use crate::reply::{count, list, number, word};
use crate::script::{Script, script};
use crate::transitions::{Answer, moved};

static LOOK: LazyLock<Script> = script!("look", Run, ["now", "places", "lease"]);

/// What a claim would say of a partition.
pub(crate) struct Looked {
    pub(crate) now: Millis,
    pub(crate) held: usize,
    pub(crate) next_due: Option<Duration>,
    /// Something is ready or due.
    pub(crate) left: bool,
}

/// `None` where the identity has no lease.
pub(crate) async fn look(
    shared: &Shared,
    part: &Part,
    worker: WorkerId,
) -> Result<Answer<Option<Looked>>, BrokerError> {
    let keys = shared.keys(&part.name);
    let active = keys.active(worker);
    let lease = lease_field(worker);
    let now = shared.now();
    let mut names: Vec<&str> = vec![&keys.meta, &active, &keys.scheduled, &keys.bell];
    names.extend(keys.ready.iter().map(String::as_str));
    let reply = shared
        .connection
        .run(&LOOK, |call| {
            call.keys(&names).arg(&now).arg(&lease).arg(&part.division);
        })
        .await?;
    if let Some(division) = moved(&reply) {
        return Ok(Answer::Moved(division));
    }
    if word(&reply) == b"no_lease" {
        return Ok(Answer::Here(None));
    }
    let looked = read(reply).ok_or_else(|| unexpected("look"))?;
    Ok(Answer::Here(Some(looked)))
}

fn read(reply: Value) -> Option<Looked> {
    let items = list(reply)?;
    let [now, held, next_due, left] = items.as_slice() else {
        return None;
    };
    Some(Looked {
        now: Millis::new(number(now)?),
        held: count(held)?,
        next_due: number(next_due).map(Duration::from_millis),
        left: number(left) == Some(1),
    })
}
