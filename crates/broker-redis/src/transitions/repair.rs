//! `repair.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Census, QueueName, READY_SOUGHT_MAX, Repair, WorkerId};

use super::census::{census_keys, write};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static REPAIR: LazyLock<Script> = script!(
    "repair",
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

pub(crate) async fn repair(
    shared: &Shared,
    queue: &QueueName,
    census: &Census,
    unlisted: &[WorkerId],
    repairs: &[Repair],
) -> Result<bool, BrokerError> {
    let keys = shared.keys(queue);
    let mut names = census_keys(&keys);
    names.extend([keys.meta.as_str(), &keys.bell, &keys.uniques]);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&REPAIR, |call| {
            call.keys(&names)
                .arg(census.id.as_bytes())
                .arg(write(census))
                .arg(READY_SOUGHT_MAX)
                .arg(unlisted.len());
            for worker in unlisted {
                call.arg(worker.to_string());
            }
            for repair in repairs {
                let (kind, of, count) = words(*repair, &now);
                call.arg(kind).arg(of).arg(count);
            }
        })
        .await?;
    match word(&reply) {
        b"repaired" => Ok(true),
        b"changed" => Ok(false),
        _ => Err(unexpected("repair")),
    }
}

fn words(repair: Repair, now: &str) -> (&'static str, String, String) {
    let alone = |kind| (kind, String::new(), String::new());
    match repair {
        Repair::MakeReady => ("ready", now.to_owned(), String::new()),
        Repair::Unschedule => alone("unschedule"),
        Repair::Unbury => alone("unbury"),
        Repair::TakeFrom(worker) => ("take", worker.to_string(), String::new()),
        Repair::DropEntries(level, count) => ("entries", level.to_string(), count.to_string()),
        Repair::SetGhosts(level, count) => ("ghosts", level.to_string(), count.to_string()),
        Repair::DropFacts => alone("facts"),
        Repair::DropReason => alone("reason"),
        Repair::DropWaiting => alone("waiting"),
        Repair::DropCancel => alone("cancel"),
        Repair::DropLock => alone("lock"),
        Repair::DropCallback => alone("callback"),
    }
}
