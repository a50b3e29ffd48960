//! How late scheduled tasks start.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::process::Process;
use crate::report::{Bound, Of, Spec, Target};
use crate::tally::{Lateness, now_ns};
use crate::tasks::{payload, stamped};

const EARLIEST: &str = "due/scattered-earliest";
const P50: &str = "due/scattered-p50";
const P99: &str = "due/scattered-p99";
const STORM: &str = "due/storm-last";

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Time enough to send them all before the first is due: for any number, and for each task.
const LEAD: u64 = 2 * SECOND;
const LEAD_A_TASK: u64 = MS / 20;

pub(crate) const SPECS: &[Spec] = &[
    Spec {
        name: EARLIEST,
        unit: "ms late",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtLeast(0.0),
        }],
    },
    Spec {
        name: P50,
        unit: "ms late",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(5.0),
        }],
    },
    Spec {
        name: P99,
        unit: "ms late",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(20.0),
        }],
    },
    Spec {
        name: STORM,
        unit: "ms late",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(1_000.0),
        }],
    },
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    if [EARLIEST, P50, P99].iter().any(|name| bench.wants(name)) {
        let late = spread(bench, bench.tasks / 100, 10 * SECOND).await?;
        bench.record(EARLIEST, late.min);
        bench.record(P50, late.p50);
        bench.record(P99, late.p99);
    }
    if bench.wants(STORM) {
        let late = spread(bench, bench.tasks / 2, SECOND).await?;
        bench.record(STORM, late.max);
    }
    Ok(())
}

/// Sends `count` tasks due at random instants within `span`, before the first of them is due.
async fn spread(bench: &mut Bench, count: u64, span: u64) -> Result<Lateness> {
    bench.site.flush().await?;
    let client = bench.site.client().await?;
    let mut worker = Process::worker(&bench.site.url(), &[]).await?;
    let first_ms = (now_ns() + LEAD + count * LEAD_A_TASK) / MS;
    let sends = (0..count).map(|_| {
        // A whole millisecond, as the wire has it.
        let due_ms = first_ms + fastrand::u64(0..span / MS);
        let due = SystemTime::UNIX_EPOCH + Duration::from_millis(due_ms);
        client.send(stamped(due_ms * MS, payload())).eta(due)
    });
    client.send_all(sends).await?;
    ensure!(
        now_ns() / MS < first_ms,
        "this machine does not send {count} tasks in the time before they are due; use fewer --tasks"
    );
    worker.until_run(count).await?;
    let late = worker.lateness().await?;
    worker.stop().await?;
    Ok(late)
}
