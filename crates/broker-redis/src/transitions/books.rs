//! `books.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{Books, BrokerError, CheckMode, QueueName, WorkerId, hours, span_ms};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::{list, number, text};
use crate::script::{ByMode, by_mode};

/// Far longer than a worker hides a callback from the others: who is further off was put there by a clock that has gone back.
const CALLBACK_PUT_OFF_MAX: Duration = hours(1);

static BOOKS: LazyLock<ByMode> =
    by_mode!("books", ["now", "chunks", "places", "dead_bytes", "losses"]);

pub(crate) async fn books(
    shared: &Shared,
    queue: &QueueName,
    unlisted: &[WorkerId],
    mode: CheckMode,
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
    names.extend([
        keys.locks.as_str(),
        &keys.callbacks,
        &keys.losses,
        &keys.reports,
        &keys.suspects,
        &keys.actives,
    ]);
    let now = shared.now();
    let reply = shared
        .connection
        .run(BOOKS.by(mode), |call| {
            call.keys(&names)
                .arg(&now)
                .arg(mode_word(mode))
                .arg(LEASE_FIELDS)
                .arg(span_ms(CALLBACK_PUT_OFF_MAX));
            for worker in unlisted {
                call.arg(worker.to_string());
            }
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("books"))
}

/// What scripts call a mode.
pub(super) fn mode_word(mode: CheckMode) -> &'static str {
    match mode {
        CheckMode::Look => "look",
        CheckMode::Repair => "repair",
    }
}

/// Texts, whatever bytes somebody wrote there.
pub(super) fn texts(values: &[Value]) -> Vec<String> {
    let lossy = |value| String::from_utf8_lossy(text(value)).into_owned();
    values.iter().map(lossy).collect()
}

fn read(reply: Value) -> Option<Books> {
    let items = list(reply)?;
    let [
        stored,
        placed,
        said,
        bytes,
        unused,
        leases,
        workers,
        losses,
        callbacks,
    ] = items.as_slice()
    else {
        return None;
    };
    let strays = |strays: &Value| match strays {
        Value::Array(strays) => Some(texts(strays)),
        _ => None,
    };
    Some(Books {
        stored: number(stored)?,
        placed: number(placed),
        dead_bytes_said: number(said)?,
        dead_bytes: number(bytes),
        unused: String::from_utf8_lossy(text(unused)).into_owned(),
        stray_leases: strays(leases),
        stray_workers: strays(workers),
        losses_beyond: number(losses)?,
        callbacks_put_off: number(callbacks)?,
    })
}
