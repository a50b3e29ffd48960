//! `report.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{BrokerError, QueueName, REPORT_BYTES_MAX, TransportError, WorkerId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::word;
use crate::script::{Script, script};

static REPORT: LazyLock<Script> = script!("report", Run, ["now"]);

pub(crate) async fn report(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    report: &Bytes,
) -> Result<bool, BrokerError> {
    if REPORT_BYTES_MAX < report.len() {
        return Err(BrokerError::Refused(TransportError::new(format!(
            "a report of {} bytes, the limit is {REPORT_BYTES_MAX}",
            report.len()
        ))));
    }
    let keys = shared.keys(queue);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&REPORT, |call| {
            call.keys(&[&keys.identities, &keys.suspects, &keys.reports])
                .arg(&now)
                .arg(worker.to_string())
                .arg(&**report);
        })
        .await?;
    match word(&reply) {
        b"kept" => Ok(true),
        b"lost" => Ok(false),
        _ => Err(unexpected("report")),
    }
}
