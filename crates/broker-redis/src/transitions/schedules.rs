//! `schedules.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, Looked, Millis, ScheduleName, StoredSchedule};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number};
use crate::script::{Script, script};
use crate::transitions::schedule::{read_name, read_schedule};

static SCHEDULES: LazyLock<Script> = script!("schedules", Run, ["now", "chunks"]);

pub(crate) async fn schedules(
    shared: &Shared,
    after: Option<&ScheduleName>,
    limit: usize,
) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
    let keys = &shared.beat;
    let now = shared.now();
    let begin = after.map_or_else(|| "-".to_owned(), |name| format!("({name}"));
    loop {
        let reply = shared
            .connection
            .run(&SCHEDULES, |call| {
                call.keys(&[&keys.versions, &keys.records, &keys.wakes, &keys.names])
                    .arg(&now)
                    .arg(&begin)
                    .arg(limit.min(BATCH_MAX));
            })
            .await?;
        let page = read(reply).ok_or_else(|| unexpected("schedules"))?;
        // A page of names that stand for nothing, which are gone now, is not the last one.
        if page.names == 0 || !page.found.is_empty() {
            return Ok(Looked {
                now: page.now,
                found: page.found,
            });
        }
    }
}

struct Page {
    now: Millis,
    names: usize,
    found: Vec<StoredSchedule>,
}

fn read(reply: Value) -> Option<Page> {
    let mut items = list(reply)?.into_iter();
    let now = Millis::new(number(&items.next()?)?);
    let names = list(items.next()?)?;
    let versions = list(items.next()?)?;
    let wakes = list(items.next()?)?;
    let records = list(items.next()?)?;
    let found = names
        .iter()
        .zip(versions)
        .zip(wakes)
        .zip(records)
        .filter_map(|(((name, version), wake), record)| {
            read_schedule(read_name(name)?, &version, &wake, record)
        })
        .collect();
    Some(Page {
        now,
        names: names.len(),
        found,
    })
}
