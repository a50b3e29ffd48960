//! `books.lua`.

use std::sync::LazyLock;

use lovage_core::{Books, BrokerError, Hand, QueueName, WorkerId};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::{list, number, text};
use crate::script::{Script, script};

static BOOKS: LazyLock<Script> = script!("books", Run, ["now", "chunks", "places", "dead"]);

pub(crate) async fn books(
    shared: &Shared,
    queue: &QueueName,
    unlisted: &[WorkerId],
    hand: Hand,
) -> Result<Books, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.tasks,
        &keys.identities,
        &keys.scheduled,
        &keys.dead,
        &keys.ghosts,
        &keys.reasons,
        &keys.facts,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    names.push(&keys.actives);
    let reply = shared
        .connection
        .run(&BOOKS, |call| {
            call.keys(&names).arg(hand_word(hand)).arg(LEASE_FIELDS);
            for worker in unlisted {
                call.arg(worker.to_string());
            }
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("books"))
}

/// What scripts call a hand.
pub(super) fn hand_word(hand: Hand) -> &'static str {
    match hand {
        Hand::Look => "look",
        Hand::Repair => "repair",
    }
}

/// Texts, whatever bytes somebody wrote there.
pub(super) fn texts(values: &[Value]) -> Vec<String> {
    let lossy = |value| String::from_utf8_lossy(text(value)).into_owned();
    values.iter().map(lossy).collect()
}

fn read(reply: Value) -> Option<Books> {
    let items = list(reply)?;
    let [stored, placed, said, bytes, unused, strays] = items.as_slice() else {
        return None;
    };
    Some(Books {
        stored: number(stored)?,
        placed: number(placed),
        dead_bytes_said: number(said)?,
        dead_bytes: number(bytes),
        unused: String::from_utf8_lossy(text(unused)).into_owned(),
        stray_leases: match strays {
            Value::Array(strays) => Some(texts(strays)),
            _ => None,
        },
    })
}
