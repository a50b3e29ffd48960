//! `mend.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Census, Mend, QueueName, READY_SOUGHT_MAX, WorkerId};

use super::census::{census_keys, write};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static MEND: LazyLock<Script> = script!(
    "mend",
    Run,
    [
        "now",
        "chunks",
        "envelope",
        "places",
        "outcome",
        "dead_bytes",
        "locks",
        "census"
    ]
);

pub(crate) async fn mend(
    shared: &Shared,
    queue: &QueueName,
    census: &Census,
    unlisted: &[WorkerId],
    mends: &[Mend],
) -> Result<bool, BrokerError> {
    let keys = shared.keys(queue);
    let mut names = census_keys(&keys);
    names.extend([keys.meta.as_str(), &keys.bell, &keys.uniques]);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&MEND, |call| {
            call.keys(&names)
                .arg(census.id.as_bytes())
                .arg(write(census))
                .arg(READY_SOUGHT_MAX)
                .arg(unlisted.len());
            for worker in unlisted {
                call.arg(worker.to_string());
            }
            for mend in mends {
                let (kind, of, count) = words(*mend, &now);
                call.arg(kind).arg(of).arg(count);
            }
        })
        .await?;
    match word(&reply) {
        b"mended" => Ok(true),
        b"changed" => Ok(false),
        _ => Err(unexpected("mend")),
    }
}

fn words(mend: Mend, now: &str) -> (&'static str, String, String) {
    let alone = |kind| (kind, String::new(), String::new());
    match mend {
        Mend::MakeReady => ("ready", now.to_owned(), String::new()),
        Mend::Unschedule => alone("unschedule"),
        Mend::Unbury => alone("unbury"),
        Mend::TakeFrom(worker) => ("take", worker.to_string(), String::new()),
        Mend::DropEntries(level, count) => ("entries", level.to_string(), count.to_string()),
        Mend::SetGhosts(level, count) => ("ghosts", level.to_string(), count.to_string()),
        Mend::DropFacts => alone("facts"),
        Mend::DropReason => alone("reason"),
        Mend::DropWaiting => alone("waiting"),
        Mend::DropCancel => alone("cancel"),
        Mend::DropLock => alone("lock"),
        Mend::DropCallback => alone("callback"),
    }
}
