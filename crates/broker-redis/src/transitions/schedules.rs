//! `schedules.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, Looked, Millis, ScheduleName, StoredSchedule};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number, word};
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
    let mut begin = after.map_or_else(|| b"-".to_vec(), |name| behind(name.as_str().as_bytes()));
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
        // A page of what stands for nothing, or was written by hand and is no schedule, is not the last one.
        match page.last {
            Some(last) if page.found.is_empty() => begin = behind(&last),
            _ => {
                let (now, found) = (page.now, page.found);
                return Ok(Looked { now, found });
            }
        }
    }
}

/// The names behind this one.
fn behind(name: &[u8]) -> Vec<u8> {
    [b"(", name].concat()
}

struct Page {
    now: Millis,
    /// The last name, whatever it stands for; none where there are no more.
    last: Option<Vec<u8>>,
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
    let last = names.last().map(|name| word(name).to_vec());
    Some(Page { now, last, found })
}
