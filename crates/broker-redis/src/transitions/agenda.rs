//! `agenda.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{Ailment, AilmentKind, BrokerError, FIRINGS_MAX, Hand};
use redis::Value;

use super::books::{hand_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{ByHand, by_hand};

static AGENDA: LazyLock<ByHand> = by_hand!("agenda", ["places"]);

pub(crate) async fn agenda(
    shared: &Shared,
    names: &[Bytes],
    hand: Hand,
) -> Result<Vec<Ailment>, BrokerError> {
    let keys = &shared.beat;
    let reply = shared
        .connection
        .run(AGENDA.by(hand), |call| {
            call.keys(&[
                &keys.versions,
                &keys.records,
                &keys.wakes,
                &keys.names,
                &keys.histories,
            ])
            .arg(hand_word(hand))
            .arg(FIRINGS_MAX);
            for name in names {
                call.arg(name.as_ref());
            }
        })
        .await?;
    read(reply, AilmentKind::Schedule, "schedule").ok_or_else(|| unexpected("agenda"))
}

/// Groups of three: name, what is wrong, whether it was repaired.
pub(super) fn read(reply: Value, kind: AilmentKind, noun: &str) -> Option<Vec<Ailment>> {
    let items = list(reply)?;
    let groups = items.chunks_exact(3).map(|group| {
        let words = texts(&group[..2]);
        Ailment {
            kind,
            place: "schedules".to_owned(),
            what: format!("{noun} {:?}: {}", words[0], words[1]),
            repaired: number(&group[2]) == Some(1),
        }
    });
    Some(groups.collect())
}
