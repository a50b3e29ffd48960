//! What a worker with nothing to do costs.

use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use crate::bench::Bench;
use crate::process::Process;
use crate::report::{Bound, Of, Spec, Target};

const COMMANDS: &str = "redis/idle-commands";
const RSS: &str = "worker/rss-idle";

/// What a worker does once at its start is over by then.
const SETTLING: Duration = Duration::from_secs(3);
/// Several renewals of a lease of fifteen seconds.
const WATCH: Duration = Duration::from_secs(15);

pub(crate) const SPECS: &[Spec] = &[
    Spec {
        name: COMMANDS,
        unit: "commands/s",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(1.0),
        }],
    },
    Spec {
        name: RSS,
        unit: "MiB",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(15.0),
        }],
    },
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants(COMMANDS) && !bench.wants(RSS) {
        return Ok(());
    }
    bench.site.flush().await?;
    let worker = Process::worker(&bench.site.url(), &[]).await?;
    sleep(SETTLING).await;
    if let Some(usage) = worker.usage() {
        bench.record(RSS, usage.rss_mib);
    }
    if bench.wants(COMMANDS) {
        let commands = commands_a_second(&bench.site.url()).await?;
        bench.record(COMMANDS, commands);
    }
    worker.stop().await
}

/// Counts what the server is told, but not what its scripts then do.
pub(crate) async fn commands_a_second(url: &str) -> Result<f64> {
    let mut monitor = redis::Client::open(url)?.get_async_monitor().await?;
    let mut lines = monitor.on_message::<String>();
    let end = Instant::now() + WATCH;
    let mut commands = 0_u32;
    // 1339518083.107412 [0 127.0.0.1:60866] "EVALSHA" …, and [0 lua] for the commands of a script.
    while let Ok(Some(line)) = timeout_at(end, lines.next()).await {
        if !line.contains("[0 lua]") {
            commands += 1;
        }
    }
    Ok(f64::from(commands) / WATCH.as_secs_f64())
}
