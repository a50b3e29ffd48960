//! `locks.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, CheckMode, Finding, FindingKind, LockKey, QueueName, TaskId};
use redis::Value;

use super::books::mode_word;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::hex;
use crate::reply::{count, list, number, text};
use crate::script::{ByMode, by_mode};

static LOCKS: LazyLock<ByMode> =
    by_mode!("locks", ["now", "chunks", "envelope", "places", "locks"]);

pub(crate) async fn locks(
    shared: &Shared,
    queue: &QueueName,
    keys: &[LockKey],
    tasks: &[TaskId],
    mode: CheckMode,
) -> Result<Vec<Finding>, BrokerError> {
    let names = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(LOCKS.by(mode), |call| {
            call.keys(&[
                &names.meta,
                &names.tasks,
                &names.dead,
                &names.locks,
                &names.uniques,
                &names.identities,
                &names.actives,
            ])
            .arg(&now)
            .arg(mode_word(mode))
            .arg(keys.len());
            for key in keys {
                call.arg(hex(key.as_bytes()));
            }
            for id in tasks {
                call.arg(id.as_bytes());
            }
        })
        .await?;
    read(reply, queue, keys, tasks).ok_or_else(|| unexpected("locks"))
}

fn read(
    reply: Value,
    queue: &QueueName,
    keys: &[LockKey],
    tasks: &[TaskId],
) -> Option<Vec<Finding>> {
    let items = list(reply)?;
    let found = items.chunks_exact(3).map(|group| {
        let place = count(&group[0])?.checked_sub(1)?;
        let (kind, what) = words(text(&group[1]))?;
        let of = match keys.get(place) {
            Some(key) => format!("key {key:?}"),
            None => format!("task {}", tasks.get(place - keys.len())?),
        };
        Some(Finding {
            kind,
            place: queue.as_str().to_owned(),
            what: format!("{of}: {what}"),
            repaired: number(&group[2]) == Some(1),
        })
    });
    found.collect()
}

fn words(word: &[u8]) -> Option<(FindingKind, &'static str)> {
    Some(match word {
        b"wrong type" => (FindingKind::WrongType, "it holds no string"),
        b"unreadable" => (FindingKind::StrayLock, "nobody can read what is there"),
        b"lasting" => (FindingKind::Lasting, "it has an end and no time to live"),
        b"stray" => (
            FindingKind::StrayLock,
            "it names a task that is not there, is dead, or holds another one",
        ),
        b"unnoted" => (
            FindingKind::LostLock,
            "it is not noted at its task, and would not be freed with it",
        ),
        b"unheld" => (FindingKind::LostLock, "nobody holds its key"),
        b"taken" => (FindingKind::LostLock, "something else holds its key"),
        _ => return None,
    })
}
