//! `lasting.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, CheckMode, Passing, QueueName, TaskId, hours, span_ms};

use super::books::{mode_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::hex;
use crate::reply::list;
use crate::script::{ByMode, by_mode};

/// How long a result is kept that would have been for ever: whoever waits for it has the time to ask.
const KEPT: Duration = hours(24);

static LASTING: LazyLock<ByMode> = by_mode!("lasting", ["now", "envelope"]);

pub(crate) async fn lasting(
    shared: &Shared,
    queue: &QueueName,
    of: Passing,
    ids: &[TaskId],
    mode: CheckMode,
) -> Result<Vec<TaskId>, BrokerError> {
    let keys = shared.keys(queue);
    let (begin, of) = match of {
        Passing::Results => (&keys.results, "results"),
        Passing::Sends => (&keys.onces, "sends"),
    };
    let now = shared.now();
    let reply = shared
        .connection
        .run(LASTING.by(mode), |call| {
            call.keys(&[begin])
                .arg(&now)
                .arg(mode_word(mode))
                .arg(span_ms(KEPT))
                .arg(of);
            for id in ids {
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
