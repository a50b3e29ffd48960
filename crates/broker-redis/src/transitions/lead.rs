//! `lead.lua`.

use std::num::NonZeroU16;
use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{
    BATCH_MAX, BeatId, BrokerError, Lead, Millis, QueueName, StoredSchedule, Tick, ms, span_ms,
};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number, word};
use crate::script::{Script, script};
use crate::transitions::leader::read_leader;
use crate::transitions::schedule::{read_name, read_schedule};

/// Runs in a full Redis as well: its leader drains the outboxes.
static LEAD: LazyLock<Script> = script!("lead", Run, ["now", "chunks", "numbers", "lease"]);

pub(crate) async fn lead(
    shared: &Shared,
    beat: BeatId,
    lease: Duration,
    max: NonZeroU16,
) -> Result<Lead, BrokerError> {
    let keys = &shared.beat;
    let now = shared.now();
    let reply = shared
        .connection
        .run(&LEAD, |call| {
            call.keys(&[
                &keys.meta,
                &keys.versions,
                &keys.records,
                &keys.wakes,
                &keys.outboxes,
            ])
            .arg(&now)
            .arg(beat.to_string())
            .arg(span_ms(lease))
            .arg(usize::from(max.get()).min(BATCH_MAX));
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("lead"))
}

fn read(reply: Value) -> Option<Lead> {
    let items = list(reply)?;
    if word(items.first()?) == b"standby" {
        return read_leader(&items[1..]).map(Lead::Standby);
    }
    let mut items = items.into_iter().skip(1);
    let epoch = number(&items.next()?)?;
    let now = Millis::new(number(&items.next()?)?);
    let next_wake = number(&items.next()?).map(ms);
    let queues = list(items.next()?)?;
    let mut outboxes: Vec<QueueName> = queues.iter().filter_map(read_queue).collect();
    outboxes.sort_unstable();
    let wakes = list(items.next()?)?;
    let versions = list(items.next()?)?;
    let records = list(items.next()?)?;
    let due: Vec<StoredSchedule> = wakes
        .chunks_exact(2)
        .zip(versions)
        .zip(records)
        .filter_map(|((wake, version), record)| {
            read_schedule(read_name(&wake[0])?, &version, &wake[1], record)
        })
        .collect();
    Some(Lead::Held(Tick {
        epoch,
        now,
        due,
        next_wake,
        outboxes,
    }))
}

/// Rubbish that somebody wrote there by hand is no queue.
fn read_queue(value: &Value) -> Option<QueueName> {
    QueueName::parse(std::str::from_utf8(word(value)).ok()?).ok()
}
