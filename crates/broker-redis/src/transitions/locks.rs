//! `locks.lua`.

use std::sync::LazyLock;

use lovage_core::{Ailment, AilmentKind, BrokerError, Hand, LockKey, QueueName, TaskId};
use redis::Value;

use super::books::hand_word;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::hex;
use crate::reply::{count, list, number, text};
use crate::script::{ByHand, by_hand};

static LOCKS: LazyLock<ByHand> =
    by_hand!("locks", ["now", "chunks", "envelope", "places", "locks"]);

pub(crate) async fn locks(
    shared: &Shared,
    queue: &QueueName,
    keys: &[LockKey],
    tasks: &[TaskId],
    hand: Hand,
) -> Result<Vec<Ailment>, BrokerError> {
    let names = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(LOCKS.by(hand), |call| {
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
            .arg(hand_word(hand))
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
) -> Option<Vec<Ailment>> {
    let items = list(reply)?;
    let found = items.chunks_exact(3).map(|group| {
        let place = count(&group[0])?.checked_sub(1)?;
        let (kind, what) = words(text(&group[1]))?;
        let of = match keys.get(place) {
            Some(key) => format!("key {key:?}"),
            None => format!("task {}", tasks.get(place - keys.len())?),
        };
        Some(Ailment {
            kind,
            place: queue.as_str().to_owned(),
            what: format!("{of}: {what}"),
            repaired: number(&group[2]) == Some(1),
        })
    });
    found.collect()
}

fn words(word: &[u8]) -> Option<(AilmentKind, &'static str)> {
    Some(match word {
        b"wrong type" => (AilmentKind::WrongType, "it holds no string"),
        b"unreadable" => (AilmentKind::StrayLock, "nobody can read what is there"),
        b"lasting" => (AilmentKind::Lasting, "it has an end and no time to live"),
        b"stray" => (
            AilmentKind::StrayLock,
            "it names a task that is not there, is dead, or holds another one",
        ),
        b"unnoted" => (
            AilmentKind::LostLock,
            "it is not noted at its task, and would not be freed with it",
        ),
        b"unheld" => (AilmentKind::LostLock, "nobody holds its key"),
        b"taken" => (AilmentKind::LostLock, "something else holds its key"),
        _ => return None,
    })
}
