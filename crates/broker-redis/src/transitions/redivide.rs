//! `redivide.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Division;
use crate::error::unexpected;
use crate::reply::{list, number, text, word};
use crate::script::{Script, script};

static REDIVIDE: LazyLock<Script> = script!("redivide", Run, ["places"]);

/// How the queue is divided now, whether that was gone, and the bound that it has as a whole still.
pub(crate) async fn redivide(
    shared: &Shared,
    queue: &QueueName,
    division: &str,
) -> Result<(Division, bool, Option<u64>), BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&REDIVIDE, |call| {
            call.keys(&[&keys.meta, &keys.bell]).arg(division);
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("redivide"))
}

fn read(reply: Value) -> Option<(Division, bool, Option<u64>)> {
    let answer = word(&reply).to_vec();
    let items = list(reply)?;
    let [_, division, bound] = items.as_slice() else {
        return None;
    };
    let division = Division::parse(text(division))?;
    Some((division, answer == b"written", number(bound)))
}
