//! `claim.lua`.

use std::num::NonZeroU16;
use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{
    BATCH_MAX, Batch, BrokerError, Claim, Delivery, Fence, Millis, Parked, TaskId, WorkerId,
};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::unexpected;
use crate::keys::lease_field;
use crate::reply::{bytes, count, list, number, word};
use crate::script::{Script, script};
use crate::transitions::{Answer, moved};

static CLAIM: LazyLock<Script> = script!(
    "claim",
    Run,
    [
        "now",
        "numbers",
        "chunks",
        "envelope",
        "places",
        "dead_bytes",
        "locks",
        "lease"
    ]
);

pub(crate) async fn claim(
    shared: &Shared,
    part: &Part,
    worker: WorkerId,
    max: NonZeroU16,
) -> Result<Answer<Claim>, BrokerError> {
    let keys = shared.keys(&part.name);
    let active = keys.active(worker);
    let lease = lease_field(worker);
    let now = shared.now();
    let max = usize::from(max.get()).min(BATCH_MAX);
    let reply = shared
        .connection
        .run(&CLAIM, |call| {
            let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = &keys.ready;
            call.keys(&[
                &keys.meta,
                &keys.tasks,
                &active,
                &keys.scheduled,
                &keys.ghosts,
                &keys.facts,
                &keys.dead,
                &keys.reasons,
                &keys.bell,
                &keys.locks,
                &keys.uniques,
                r0,
                r1,
                r2,
                r3,
                r4,
                r5,
                r6,
                r7,
                r8,
                r9,
            ])
            .arg(&now)
            .arg(&lease)
            .arg(max)
            .arg(&part.division)
            .arg(
                part.number
                    .map_or_else(String::new, |number| number.to_string()),
            );
        })
        .await?;
    if word(&reply) == b"no_lease" {
        return Ok(Answer::Here(Claim::NoLease));
    }
    if let Some(division) = moved(&reply) {
        return Ok(Answer::Moved(division));
    }
    read(reply)
        .map(|batch| Answer::Here(Claim::Granted(batch)))
        .ok_or_else(|| unexpected("claim"))
}

fn read(reply: Value) -> Option<Batch> {
    let mut items = list(reply)?.into_iter();
    let now = Millis::new(number(&items.next()?)?);
    let fence = Fence {
        number: number(&items.next()?)?,
        claimed_at: now,
    };
    let held = count(&items.next()?)?;
    let next_due = number(&items.next()?).map(Duration::from_millis);
    let ids = bytes(items.next()?)?;
    let envelopes = list(items.next()?)?;
    let mut facts = items.next().and_then(list).unwrap_or_default().into_iter();
    let deliveries = ids
        .chunks(size_of::<TaskId>())
        .zip(envelopes)
        .map(|(id, envelope)| {
            let known = facts.next().and_then(read_facts).unwrap_or_default();
            let (losses, parked, snoozes) = known;
            Some(Delivery {
                id: TaskId::try_from(id).ok()?,
                fence,
                bytes: bytes(envelope)?,
                losses,
                snoozes,
                parked,
            })
        })
        .collect::<Option<_>>()?;
    Some(Batch {
        deliveries,
        held,
        now,
        next_due,
    })
}

/// `LOSSES:PARKS:PARKED_SINCE`, and `:SNOOZES` behind it if there are any.
pub(super) fn read_facts(value: Value) -> Option<(u32, Option<Parked>, u32)> {
    let text = bytes(value)?;
    let mut parts = std::str::from_utf8(&text).ok()?.split(':');
    let losses = parts.next()?.parse().ok()?;
    let times = parts.next()?.parse().ok()?;
    let since = Millis::new(parts.next()?.parse().ok()?);
    let parked = (times != 0).then_some(Parked { since, times });
    let snoozes = parts.next().and_then(|part| part.parse().ok());
    Some((losses, parked, snoozes.unwrap_or_default()))
}
