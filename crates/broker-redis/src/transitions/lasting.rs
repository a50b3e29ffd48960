//! `lasting.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, Hand, QueueName, TaskId, hours, span_ms};

use super::books::{hand_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::hex;
use crate::reply::list;
use crate::script::{Script, script};

/// How long a result is kept that would have been for ever: whoever waits for it has the time to ask.
const KEPT: Duration = hours(24);

static LASTING: LazyLock<Script> = script!("lasting", Run, []);

pub(crate) async fn lasting(
    shared: &Shared,
    queue: &QueueName,
    results: &[TaskId],
    hand: Hand,
) -> Result<Vec<TaskId>, BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&LASTING, |call| {
            call.keys(&[&keys.results])
                .arg(hand_word(hand))
                .arg(span_ms(KEPT));
            for id in results {
                call.arg(hex(id.as_bytes()));
            }
        })
        .await?;
    let found = list(reply).ok_or_else(|| unexpected("lasting"))?;
    Ok(texts(&found)
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect())
}
