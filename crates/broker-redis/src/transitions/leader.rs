//! `leader.lua`.

use std::sync::LazyLock;

use lovage_core::{BeatId, BrokerError, Leader, Millis};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number, word};
use crate::script::{Script, script};

static LEADER: LazyLock<Script> = script!("leader", Run, ["now", "lease"]);

pub(crate) async fn leader(shared: &Shared) -> Result<Option<Leader>, BrokerError> {
    let now = shared.now();
    let reply = shared
        .connection
        .run(&LEADER, |call| {
            call.keys(&[&shared.beat.meta]).arg(&now);
        })
        .await?;
    if word(&reply) == b"nobody" {
        return Ok(None);
    }
    let items = list(reply).unwrap_or_default();
    let found = read_leader(items.get(1..).unwrap_or_default());
    found.map(Some).ok_or_else(|| unexpected("leader"))
}

/// The beat, its epoch, when its lease ends, and the instant of the look.
pub(super) fn read_leader(items: &[Value]) -> Option<Leader> {
    let [beat, epoch, end, now] = items else {
        return None;
    };
    let end = Millis::new(number(end)?);
    Some(Leader {
        beat: read_beat(beat)?,
        epoch: number(epoch)?,
        ends_in: end.since(Millis::new(number(now)?)),
    })
}

fn read_beat(value: &Value) -> Option<BeatId> {
    std::str::from_utf8(word(value)).ok()?.parse().ok()
}
