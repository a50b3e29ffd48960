//! `workers.lua`.

use std::sync::LazyLock;

use lovage_core::{
    BATCH_MAX, BrokerError, KnownWorker, Looked, Millis, QueueName, WorkerId, WorkerReport,
};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::{bytes, list, number};
use crate::script::{Script, script};

static WORKERS: LazyLock<Script> = script!("workers", Run, ["now", "chunks", "lease"]);

pub(crate) async fn workers(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Looked<Vec<KnownWorker>>, BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&WORKERS, |call| {
            call.keys(&[&keys.meta, &keys.identities, &keys.reports])
                .arg(&now)
                .arg(offset)
                .arg(limit.min(BATCH_MAX))
                .arg(LEASE_FIELDS);
        })
        .await?;
    let mut looked = read(reply).ok_or_else(|| unexpected("workers"))?;
    // The script reads `0 to -1` as all.
    looked.found.truncate(limit);
    Ok(looked)
}

fn read(reply: Value) -> Option<Looked<Vec<KnownWorker>>> {
    let mut parts = list(reply)?.into_iter();
    let now = Millis::new(number(&parts.next()?)?);
    let workers = list(parts.next()?)?;
    let leases = list(parts.next()?)?;
    let reports = list(parts.next()?)?;
    let found = workers.into_iter().zip(leases).zip(reports);
    let found = found.filter_map(|((worker, lease), report)| {
        let id = bytes(worker)?;
        Some(KnownWorker {
            worker: std::str::from_utf8(&id).ok()?.parse::<WorkerId>().ok()?,
            lease_end: Millis::new(number(&lease).unwrap_or_default()),
            report: bytes(report).and_then(|stored| stored_report(&stored)),
        })
    });
    let found = found.collect();
    Some(Looked { now, found })
}

/// `INSTANT:` and the report.
fn stored_report(stored: &[u8]) -> Option<(Millis, WorkerReport)> {
    let colon = stored.iter().position(|byte| *byte == b':')?;
    let at = std::str::from_utf8(&stored[..colon]).ok()?.parse().ok()?;
    Some((Millis::new(at), WorkerReport::decode(&stored[colon + 1..])?))
}
