//! `outboxes.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{Ailment, AilmentKind, BrokerError, Hand};

use super::agenda::read;
use super::books::hand_word;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::script::{ByHand, by_hand};

static OUTBOXES: LazyLock<ByHand> = by_hand!("outboxes", ["places"]);

pub(crate) async fn outboxes(
    shared: &Shared,
    queues: &[Bytes],
    hand: Hand,
) -> Result<Vec<Ailment>, BrokerError> {
    let keys = &shared.beat;
    let reply = shared
        .connection
        .run(OUTBOXES.by(hand), |call| {
            call.keys(&[&keys.outboxes, &keys.outbox_of])
                .arg(hand_word(hand));
            for queue in queues {
                call.arg(queue.as_ref());
            }
        })
        .await?;
    read(reply, AilmentKind::Outbox, "outbox of").ok_or_else(|| unexpected("outboxes"))
}
