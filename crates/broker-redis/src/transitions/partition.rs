//! `partition.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, Partitioned, Partitions, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Division;
use crate::error::unexpected;
use crate::reply::{list, number, text, word};
use crate::script::{Script, script};

static PARTITION: LazyLock<Script> = script!("partition", Refuse, ["now", "places"]);

/// What came of it, how the queue is divided now, and the bound that it has as a whole still.
pub(crate) async fn partition(
    shared: &Shared,
    queue: &QueueName,
    partitions: Partitions,
) -> Result<(Partitioned, Option<Division>, Option<u64>), BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&PARTITION, |call| {
            call.keys(&[&keys.meta, &keys.tasks, &keys.bell])
                .arg(&now)
                .arg(partitions.get());
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("partition"))
}

fn read(reply: Value) -> Option<(Partitioned, Option<Division>, Option<u64>)> {
    let answer = word(&reply).to_vec();
    match (answer.as_slice(), list(reply)?.as_slice()) {
        (b"done", [_, division, bound]) => {
            let division = Division::parse(text(division))?;
            Some((Partitioned::Done, Some(division), number(bound)))
        }
        (b"fixed", [_, division]) => {
            let division = Division::parse(text(division))?;
            let present = division.partitions;
            Some((Partitioned::Fixed { present }, Some(division), None))
        }
        (b"holds", [_, len]) => {
            let len = number(len)?;
            Some((Partitioned::HoldsTasks { len }, None, None))
        }
        (b"remembers", [_, left]) => {
            let left = Duration::from_millis(number(left)?);
            Some((Partitioned::RemembersSends { left }, None, None))
        }
        _ => None,
    }
}
