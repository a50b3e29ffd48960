//! `schedule.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Looked, Millis, ScheduleName, StoredSchedule};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, instant, list, number, word};
use crate::script::{Script, script};

static SCHEDULE: LazyLock<Script> = script!("schedule", Run, ["now"]);

pub(crate) async fn schedule(
    shared: &Shared,
    name: &ScheduleName,
) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
    let keys = &shared.beat;
    let now = shared.now();
    let reply = shared
        .connection
        .run(&SCHEDULE, |call| {
            call.keys(&[&keys.versions, &keys.records, &keys.wakes])
                .arg(&now)
                .arg(name.as_str());
        })
        .await?;
    read(reply, name).ok_or_else(|| unexpected("schedule"))
}

fn read(reply: Value, name: &ScheduleName) -> Option<Looked<Option<StoredSchedule>>> {
    let mut items = list(reply)?.into_iter();
    let now = Millis::new(number(&items.next()?)?);
    let (version, wake, record) = (items.next()?, items.next()?, items.next()?);
    let found = read_schedule(name.clone(), &version, &wake, record);
    Some(Looked { now, found })
}

/// The schedule that has this version; none without one. A record that is missing is an empty one, which beat cannot
/// read either, and tells.
pub(super) fn read_schedule(
    name: ScheduleName,
    version: &Value,
    wake: &Value,
    record: Value,
) -> Option<StoredSchedule> {
    Some(StoredSchedule {
        name,
        version: number(version)?,
        wake: instant(wake),
        record: bytes(record).unwrap_or_default(),
    })
}

pub(super) fn read_name(value: &Value) -> Option<ScheduleName> {
    ScheduleName::parse(std::str::from_utf8(word(value)).ok()?).ok()
}
