//! `outboxes.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{BrokerError, CheckMode, Finding, FindingKind};

use super::agenda::read;
use super::books::mode_word;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::script::{ByMode, by_mode};

static OUTBOXES: LazyLock<ByMode> = by_mode!("outboxes", ["places"]);

pub(crate) async fn outboxes(
    shared: &Shared,
    queues: &[Bytes],
    mode: CheckMode,
) -> Result<Vec<Finding>, BrokerError> {
    let keys = &shared.beat;
    let reply = shared
        .connection
        .run(OUTBOXES.by(mode), |call| {
            call.keys(&[&keys.outboxes, &keys.outbox_of])
                .arg(mode_word(mode));
            for queue in queues {
                call.arg(queue.as_ref());
            }
        })
        .await?;
    read(reply, FindingKind::Outbox, "outbox of").ok_or_else(|| unexpected("outboxes"))
}
