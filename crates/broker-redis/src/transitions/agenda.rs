//! `agenda.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{BrokerError, CheckMode, FIRINGS_MAX, Finding, FindingKind};
use redis::Value;

use super::books::{mode_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{ByMode, by_mode};

static AGENDA: LazyLock<ByMode> = by_mode!("agenda", ["places"]);

pub(crate) async fn agenda(
    shared: &Shared,
    names: &[Bytes],
    mode: CheckMode,
) -> Result<Vec<Finding>, BrokerError> {
    let keys = &shared.beat;
    let reply = shared
        .connection
        .run(AGENDA.by(mode), |call| {
            call.keys(&[
                &keys.versions,
                &keys.records,
                &keys.wakes,
                &keys.names,
                &keys.histories,
            ])
            .arg(mode_word(mode))
            .arg(FIRINGS_MAX);
            for name in names {
                call.arg(name.as_ref());
            }
        })
        .await?;
    read(reply, FindingKind::Schedule, "schedule").ok_or_else(|| unexpected("agenda"))
}

/// Groups of three: name, what is wrong, whether it was repaired.
pub(super) fn read(reply: Value, kind: FindingKind, noun: &str) -> Option<Vec<Finding>> {
    let items = list(reply)?;
    let groups = items.chunks_exact(3).map(|group| {
        let words = texts(&group[..2]);
        Finding {
            kind,
            place: "schedules".to_owned(),
            what: format!("{noun} {:?}: {}", words[0], words[1]),
            repaired: number(&group[2]) == Some(1),
        }
    });
    Some(groups.collect())
}
