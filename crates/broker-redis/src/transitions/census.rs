//! `census.lua`.

use std::sync::LazyLock;

use lovage_core::{
    BrokerError, CHECKED_MAX, Census, Holder, QueueName, READY_SOUGHT_MAX, ReadyEntries,
    ReadyLevel, SOUGHT_MAX, TaskId, WorkerId,
};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::Keys;
use crate::reply::{list, text};
use crate::script::{Script, script};

static CENSUS: LazyLock<Script> = script!("census", Look, ["now", "census"]);

pub(crate) async fn census(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
    unlisted: &[WorkerId],
    seek: bool,
) -> Result<Vec<Census>, BrokerError> {
    let ids = &ids[..ids.len().min(if seek { SOUGHT_MAX } else { CHECKED_MAX })];
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&CENSUS, |call| {
            call.keys(&census_keys(&keys))
                .arg(u8::from(seek))
                .arg(READY_SOUGHT_MAX)
                .arg(unlisted.len());
            for worker in unlisted {
                call.arg(worker.to_string());
            }
            for id in ids {
                call.arg(id.as_bytes());
            }
        })
        .await?;
    let texts = list(reply).unwrap_or_default();
    let read = texts.iter().zip(ids).map(|(said, id)| read(*id, said));
    let found: Option<Vec<Census>> = read.collect();
    found
        .filter(|found| !found.is_empty())
        .ok_or_else(|| unexpected("census"))
}

/// The keys of `lib/census.lua`.
pub(super) fn census_keys(keys: &Keys) -> Vec<&str> {
    let mut names: Vec<&str> = vec![
        &keys.tasks,
        &keys.scheduled,
        &keys.dead,
        &keys.facts,
        &keys.reasons,
        &keys.waiting,
        &keys.cancels,
        &keys.ghosts,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    names.extend([
        keys.identities.as_str(),
        &keys.actives,
        &keys.locks,
        &keys.callbacks,
    ]);
    names
}

fn read(id: TaskId, said: &Value) -> Option<Census> {
    let said = std::str::from_utf8(text(said)).ok()?;
    let mut parts = said.split('|');
    let bits: Vec<bool> = parts.next()?.bytes().map(|bit| bit == b'1').collect();
    let &[
        stored,
        scheduled,
        dead,
        facts,
        reason,
        waiting,
        cancelled,
        lock,
        owed,
    ] = bits.as_slice()
    else {
        return None;
    };
    let holders = entries(parts.next()?).map(|holder| {
        let (worker, claim) = holder.split_once('=')?;
        Some(Holder {
            worker: worker.parse().ok()?,
            claim: claim.parse().ok()?,
        })
    });
    let holders = holders.collect::<Option<_>>()?;
    let ready = match parts.next()? {
        "?" => ReadyEntries::NotSought,
        "!" => ReadyEntries::TooLong,
        levels => {
            let levels = entries(levels).map(|level| {
                let mut numbers = level.split(':');
                Some(ReadyLevel {
                    level: numbers.next()?.parse().ok()?,
                    entries: numbers.next()?.parse().ok()?,
                    ghosts: numbers.next()?.parse().ok()?,
                })
            });
            ReadyEntries::Found(levels.collect::<Option<_>>()?)
        }
    };
    Some(Census {
        id,
        stored,
        scheduled,
        dead,
        holders,
        ready,
        facts,
        reason,
        waiting,
        cancelled,
        lock,
        owed,
    })
}

/// The text that was read so.
pub(super) fn write(census: &Census) -> String {
    let bits: String = [
        census.stored,
        census.scheduled,
        census.dead,
        census.facts,
        census.reason,
        census.waiting,
        census.cancelled,
        census.lock,
        census.owed,
    ]
    .map(|bit| if bit { '1' } else { '0' })
    .iter()
    .collect();
    let holders = census.holders.iter();
    let holders: Vec<String> = holders
        .map(|holder| format!("{}={}", holder.worker, holder.claim))
        .collect();
    let ready = match &census.ready {
        ReadyEntries::NotSought => "?".to_owned(),
        ReadyEntries::TooLong => "!".to_owned(),
        ReadyEntries::Found(levels) => {
            let levels = levels.iter();
            let levels: Vec<String> = levels
                .map(|level| format!("{}:{}:{}", level.level, level.entries, level.ghosts))
                .collect();
            levels.join(",")
        }
    };
    format!("{bits}|{}|{ready}", holders.join(","))
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_is_written_as_it_is_read() {
        let worker = "0b".repeat(16);
        for said in [
            "100000000||5:1:0".to_owned(),
            format!("111010111|{worker}=7,{worker}=12|0:2:1,9:1:0"),
            "000000000||?".to_owned(),
            "100000010||!".to_owned(),
            "000100001||".to_owned(),
        ] {
            let value = Value::BulkString(said.clone().into_bytes());
            let census = read(TaskId::from_bytes([1; 16]), &value).expect("it is one");
            assert_eq!(write(&census), said);
        }
    }
}
