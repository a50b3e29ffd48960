//! How long it takes from a send in one process to the start of the body in another, and how many moves.

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::process::Process;
use crate::report::{Bound, Of, Sample, Spec, Target};
use crate::stats::number;

const COMMANDS: &str = "redis/commands-per-task";
const TRIPS: &str = "redis/trips-per-task";

/// At this rate each task finds the worker idle.
const SLOW: [&str; 5] = [
    "start/200/p50",
    "start/200/p99",
    "start/200/p99.9",
    COMMANDS,
    TRIPS,
];
const BUSY: [&str; 3] = ["start/5000/p50", "start/5000/p99", "start/5000/p99.9"];
const ROUND_TRIP: &str = "one round trip (PING)";

const fn latency(name: &'static str, targets: &'static [Target]) -> Spec {
    Spec {
        name,
        unit: "ms",
        raw: ROUND_TRIP,
        targets,
    }
}

pub(crate) const SPECS: &[Spec] = &[
    latency(
        SLOW[0],
        &[Target {
            of: Of::Ratio,
            bound: Bound::AtMost(5.0),
        }],
    ),
    latency(
        SLOW[1],
        &[Target {
            of: Of::Value,
            bound: Bound::AtMost(1.0),
        }],
    ),
    latency(SLOW[2], &[]),
    latency(BUSY[0], &[]),
    latency(BUSY[1], &[]),
    latency(BUSY[2], &[]),
    Spec {
        name: COMMANDS,
        unit: "commands",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(14.0),
        }],
    },
    Spec {
        name: TRIPS,
        unit: "trips",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(2.0),
        }],
    },
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    if SLOW.iter().any(|name| bench.wants(name)) {
        at_rate(bench, 200, bench.tasks / 100, &SLOW).await?;
    }
    if BUSY.iter().any(|name| bench.wants(name)) {
        at_rate(bench, 5_000, bench.tasks / 10, &BUSY).await?;
    }
    Ok(())
}

async fn at_rate(bench: &mut Bench, rate: u64, count: u64, names: &[&'static str]) -> Result<()> {
    bench.site.flush().await?;
    let trip_ms = 1e3 / bench.site.raw.ping(1_000).await?;
    let mut worker = Process::worker(&bench.site.url(), &[]).await?;
    let mut producer = Process::producer(&bench.site.url()).await?;
    // The first tasks open connections and load scripts.
    let warming = rate / 2;
    producer.order(&format!("{rate} {warming}")).await?;
    worker.until_run(warming).await?;
    worker.order("forget").await?;

    let before = bench.site.counters().await?;
    producer.order(&format!("{rate} {count}")).await?;
    worker.until_run(count).await?;
    let redis = bench.site.counters().await?.since(before);
    let late = worker.lateness().await?;
    ensure!(late.count == count, "{} of {count} starts", late.count);
    producer.stop().await?;
    worker.stop().await?;

    for (name, ms) in names.iter().zip([late.p50, late.p99, late.p999]) {
        bench.record(name, Sample::from(ms).beside(trip_ms));
    }
    if names.contains(&COMMANDS) {
        bench.record(COMMANDS, redis.commands / number(count));
        bench.record(TRIPS, redis.reads / number(count));
    }
    Ok(())
}
