//! What many schedules cost, and how late they fire.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lovage::{Clock, Millis, Schedule, ms};
use tokio::time::sleep;

use crate::bench::Bench;
use crate::process::Process;
use crate::report::{Bound, Of, Spec, Target};
use crate::rows::idle;
use crate::tally::Lateness;
use crate::tasks::ticked;

const P50: &str = "beat/scattered-p50";
const P99: &str = "beat/scattered-p99";
const CPU: &str = "beat/cpu";
const COMMANDS: &str = "beat/redis-commands";
const TRIPS: &str = "beat/redis-trips";
const BURST: &str = "beat/burst-last";
const IDLE: &str = "beat/idle-commands";

/// Each schedule fires once in it.
const PERIOD: Duration = Duration::from_mins(1);
/// How long is watched.
const WATCH: Duration = Duration::from_secs(20);
/// What processes do once at their start is over by then.
const SETTLING: Duration = Duration::from_secs(3);
/// So many schedules are made at a time.
const CALLERS: usize = 64;

const fn plain(name: &'static str, unit: &'static str) -> Spec {
    Spec {
        name,
        unit,
        raw: "",
        targets: &[],
    }
}

pub(crate) const SPECS: &[Spec] = &[
    plain(P50, "ms late"),
    Spec {
        name: P99,
        unit: "ms late",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(20.0),
        }],
    },
    plain(CPU, "% of a core"),
    plain(COMMANDS, "commands a task"),
    plain(TRIPS, "trips a task"),
    plain(BURST, "ms late"),
    plain(IDLE, "commands/s"),
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let schedules = bench.tasks / 20;
    if [P50, P99, CPU, COMMANDS, TRIPS]
        .iter()
        .any(|name| bench.wants(name))
    {
        scattered(bench, schedules).await?;
    }
    if bench.wants(BURST) {
        let late = burst(bench, schedules).await?;
        bench.record(BURST, late.max);
    }
    if bench.wants(IDLE) {
        let far = Clock::System.now().plus(Duration::from_hours(1000));
        make(bench, schedules, async |_| Ok(Schedule::at(far))).await?;
        let beat = Process::beat(&bench.site.url()).await?;
        sleep(SETTLING).await;
        let commands = idle::commands_a_second(&bench.site.url()).await?;
        bench.record(IDLE, commands);
        beat.stop().await?;
    }
    Ok(())
}

/// Schedules of one minute that begin anywhere in it.
async fn scattered(bench: &mut Bench, schedules: u64) -> Result<()> {
    make(bench, schedules, async |_| {
        let anchor = Millis::new(fastrand::u64(0..60_000));
        Ok(Schedule::every(PERIOD)?.anchored(anchor))
    })
    .await?;
    let beat = Process::beat(&bench.site.url()).await?;
    let mut worker = Process::worker(&bench.site.url(), &[]).await?;
    sleep(SETTLING).await;
    worker.order("forget").await?;
    let before = (bench.site.counters().await?, beat.usage());
    sleep(WATCH).await;
    let late = worker.lateness().await?;
    let used = bench.site.counters().await?.since(before.0);
    bench.record(P50, late.p50);
    bench.record(P99, late.p99);
    if let (Some(before), Some(after)) = (before.1, beat.usage()) {
        let seconds = after.cpu_seconds - before.cpu_seconds;
        bench.record(CPU, 100.0 * seconds / WATCH.as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let tasks = late.count.max(1) as f64;
    bench.record(COMMANDS, used.commands / tasks);
    bench.record(TRIPS, used.reads / tasks);
    worker.stop().await?;
    beat.stop().await
}

/// Schedules that are all due at one instant.
async fn burst(bench: &mut Bench, schedules: u64) -> Result<Lateness> {
    // Time enough to make them all.
    let instant = Clock::System
        .now()
        .plus(Duration::from_secs(5) + ms(schedules / 2));
    make(bench, schedules, async |_| Ok(Schedule::at(instant))).await?;
    let beat = Process::beat(&bench.site.url()).await?;
    let mut worker = Process::worker(&bench.site.url(), &[]).await?;
    worker.until_run(schedules).await?;
    let late = worker.lateness().await?;
    worker.stop().await?;
    beat.stop().await?;
    Ok(late)
}

/// Makes schedules on an empty server.
async fn make(
    bench: &mut Bench,
    count: u64,
    schedule: impl AsyncFn(u64) -> Result<Schedule>,
) -> Result<()> {
    bench.site.flush().await?;
    let client = bench.site.client().await?;
    stream::iter(0..count)
        .map(async |number| {
            let schedule = schedule(number).await?;
            let name = format!("bench-{number}");
            client.schedules().upsert(&name, schedule, ticked()).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CALLERS)
        .try_collect()
        .await
}
