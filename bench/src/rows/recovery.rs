//! How soon the tasks of a killed worker run again.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::Bench;
use crate::process::Process;
use crate::report::{Bound, Of, Spec, Target};
use crate::tasks::held;

const KILL_9: &str = "recovery/kill-9";

const LEASE: Duration = Duration::from_secs(5);
const SETTINGS: &[&str] = &["--lease-ms", "5000"];
/// As many as the killed worker runs at once.
const TASKS: u64 = 100;

pub(crate) const SPECS: &[Spec] = &[Spec {
    name: KILL_9,
    unit: "s over lease",
    raw: "",
    targets: &[Target {
        of: Of::Value,
        bound: Bound::AtMost(10.0),
    }],
}];

/// Measures the row once, if it is wanted.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants(KILL_9) {
        return Ok(());
    }
    bench.site.flush().await?;
    let client = bench.site.client().await?;
    let mut killed = Process::worker(&bench.site.url(), SETTINGS).await?;
    client.send_all((0..TASKS).map(|_| held())).await?;
    killed.until_run(TASKS).await?;
    let mut other = Process::worker(&bench.site.url(), SETTINGS).await?;
    killed.kill().await?;
    let start = Instant::now();
    other.until_run(TASKS).await?;
    let span = start.elapsed();
    other.stop().await?;
    bench.record(KILL_9, span.as_secs_f64() - LEASE.as_secs_f64());
    Ok(())
}
