//! How fast workers empty a backlog, and what it costs.

use anyhow::{Context as _, Result};
use lovage_test_redis::RedisServer;

use crate::bench::Bench;
use crate::process::{Process, until_run};
use crate::report::{Bound, Of, Sample, Spec, Target};
use crate::server::Counters;
use crate::site::Site;
use crate::stats::number;
use crate::tally::now_ns;
use crate::tasks::{QUEUE, answer, noop, payload};

const ONE_WORKER: &str = "drain/1-worker";
const FOUR_WORKERS: &str = "drain/4-workers";
const RESULTS: &str = "drain/results";
const AOF: &str = "drain/aof";
const FAIR: &str = "drain/fair";
const PARTITIONED: &str = "drain/8-partitions";
const TRIPS: &str = "redis/trips-per-task-batched";
const REDIS_CPU: &str = "redis/cpu-per-100k";
const WORKER_CPU: &str = "worker/cpu-per-100k";
const RSS_BACKLOG: &str = "worker/rss-backlog";

/// The rows that come of emptying a backlog with one worker and nothing else.
const OF_ONE_WORKER: [&str; 5] = [ONE_WORKER, TRIPS, REDIS_CPU, WORKER_CPU, RSS_BACKLOG];
const CLAIMS: &str = "scripted claim + ack of 100";

pub(crate) const SPECS: &[Spec] = &[
    Spec {
        name: ONE_WORKER,
        unit: "tasks/s",
        raw: CLAIMS,
        targets: &[
            Target {
                of: Of::Ratio,
                bound: Bound::AtLeast(0.30),
            },
            Target {
                of: Of::Speed,
                bound: Bound::AtLeast(250_000.0),
            },
        ],
    },
    Spec {
        name: FOUR_WORKERS,
        unit: "tasks/s",
        raw: CLAIMS,
        targets: &[],
    },
    Spec {
        name: RESULTS,
        unit: "tasks/s",
        raw: CLAIMS,
        targets: &[Target {
            of: Of::Share,
            bound: Bound::AtLeast(0.50),
        }],
    },
    Spec {
        name: AOF,
        unit: "tasks/s",
        raw: CLAIMS,
        targets: &[Target {
            of: Of::Share,
            bound: Bound::AtLeast(0.65),
        }],
    },
    Spec {
        name: FAIR,
        unit: "tasks/s",
        raw: "pipelined LMOVE + LREM",
        targets: &[Target {
            of: Of::Ratio,
            bound: Bound::AtLeast(0.25),
        }],
    },
    Spec {
        name: PARTITIONED,
        unit: "tasks/s",
        raw: CLAIMS,
        targets: &[Target {
            of: Of::Share,
            bound: Bound::AtLeast(0.70),
        }],
    },
    Spec {
        name: TRIPS,
        unit: "trips",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(0.2),
        }],
    },
    Spec {
        name: REDIS_CPU,
        unit: "s",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(0.25),
        }],
    },
    Spec {
        name: WORKER_CPU,
        unit: "s",
        raw: "",
        targets: &[Target {
            of: Of::Value,
            bound: Bound::AtMost(0.40),
        }],
    },
    Spec {
        name: RSS_BACKLOG,
        unit: "MiB",
        raw: "",
        targets: &[Target {
            of: Of::Share,
            bound: Bound::AtMost(1.25),
        }],
    },
];

/// What empties a backlog of what.
#[derive(Clone, Copy)]
struct Plan {
    workers: usize,
    settings: &'static [&'static str],
    keeps_results: bool,
    partitions: u64,
    tasks: u64,
}

const PLAIN: Plan = Plan {
    workers: 1,
    settings: &[],
    keeps_results: false,
    partitions: 1,
    tasks: 0,
};

struct Drained {
    rate: f64,
    redis: Counters,
    worker_cpu: Option<f64>,
    worker_rss_mib: Option<f64>,
}

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let plain = Plan {
        tasks: bench.tasks,
        ..PLAIN
    };
    if OF_ONE_WORKER.iter().any(|name| bench.wants(name)) {
        one_worker(bench, plain).await?;
    }
    if bench.wants(FOUR_WORKERS) {
        let raw = bench.site.raw.claim(100, plain.tasks).await?;
        let ours = drain(
            &bench.site,
            Plan {
                workers: 4,
                ..plain
            },
        )
        .await?;
        bench.record(FOUR_WORKERS, Sample::from(ours.rate).beside(raw));
    }
    if bench.wants(RESULTS) {
        let raw = bench.site.raw.claim(100, plain.tasks).await?;
        let without = drain(&bench.site, plain).await?;
        let with = Plan {
            keeps_results: true,
            ..plain
        };
        let ours = Sample::from(drain(&bench.site, with).await?.rate).beside(raw);
        bench.record(RESULTS, ours.without_extra(without.rate));
    }
    if bench.wants(AOF) {
        let without = drain(&bench.site, plain).await?;
        let mut site = Site::start(RedisServer::builder().appendonly("everysec")).await?;
        let raw = site.raw.claim(100, plain.tasks).await?;
        let ours = Sample::from(drain(&site, plain).await?.rate).beside(raw);
        bench.record(AOF, ours.without_extra(without.rate));
    }
    if bench.wants(FAIR) {
        let raw = bench.site.raw.move_pipelined(plain.tasks).await?;
        let fair = Plan {
            settings: &["--prefetch", "1", "--concurrency", "100"],
            ..plain
        };
        let ours = drain(&bench.site, fair).await?;
        bench.record(FAIR, Sample::from(ours.rate).beside(raw));
    }
    if bench.wants(PARTITIONED) {
        let raw = bench.site.raw.claim(100, plain.tasks).await?;
        let whole = drain(&bench.site, plain).await?;
        let divided = Plan {
            partitions: 8,
            ..plain
        };
        let ours = Sample::from(drain(&bench.site, divided).await?.rate).beside(raw);
        bench.record(PARTITIONED, ours.without_extra(whole.rate));
    }
    Ok(())
}

async fn one_worker(bench: &mut Bench, plan: Plan) -> Result<()> {
    let raw = bench.site.raw.claim(100, plan.tasks).await?;
    let ours = drain(&bench.site, plan).await?;
    let hundred_thousands = number(plan.tasks) / 1e5;
    bench.record(ONE_WORKER, Sample::from(ours.rate).beside(raw));
    bench.record(TRIPS, ours.redis.reads / number(plan.tasks));
    bench.record(REDIS_CPU, ours.redis.cpu_seconds / hundred_thousands);
    if let Some(seconds) = ours.worker_cpu {
        bench.record(WORKER_CPU, seconds / hundred_thousands);
    }
    if bench.wants(RSS_BACKLOG) {
        // Growth shows against a tenth of the backlog.
        let small = Plan {
            tasks: plan.tasks / 10,
            ..plan
        };
        let small = drain(&bench.site, small).await?;
        if let (Some(large), Some(small)) = (ours.worker_rss_mib, small.worker_rss_mib) {
            bench.record(RSS_BACKLOG, Sample::from(large).without_extra(small));
        }
    }
    Ok(())
}

async fn drain(site: &Site, plan: Plan) -> Result<Drained> {
    site.flush().await?;
    let client = site.client().await?;
    if plan.partitions > 1 {
        client.partition(QUEUE, plan.partitions).await?;
    }
    if plan.keeps_results {
        client
            .send_all((0..plan.tasks).map(|_| answer(payload())))
            .await?;
    } else {
        client
            .send_all((0..plan.tasks).map(|_| noop(payload())))
            .await?;
    }
    let before = site.counters().await?;
    let mut workers = Vec::new();
    for _ in 0..plan.workers {
        workers.push(Process::worker(&site.url(), plan.settings).await?);
    }
    let runs = until_run(&mut workers, plan.tasks).await?;
    site.until_settled(&client).await?;
    let end = now_ns();
    let redis = site.counters().await?.since(before);
    let usage = workers
        .iter()
        .map(Process::usage)
        .collect::<Option<Vec<_>>>();
    for worker in workers {
        worker.stop().await?;
    }
    site.flush().await?;
    let span = end
        .checked_sub(runs.first_ns)
        .context("the clock went back")?;
    Ok(Drained {
        rate: number(plan.tasks) / (number(span) / 1e9),
        redis,
        worker_cpu: usage
            .as_ref()
            .map(|all| all.iter().map(|usage| usage.cpu_seconds).sum()),
        worker_rss_mib: usage.map(|all| all.iter().map(|usage| usage.rss_mib).fold(0.0, f64::max)),
    })
}
