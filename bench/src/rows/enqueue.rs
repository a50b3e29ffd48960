//! How fast one producer process can hand tasks over.

use std::time::Instant;

use anyhow::Result;
use lovage::Client;

use crate::bench::Bench;
use crate::raw::rate;
use crate::report::{Bound, Of, Sample, Spec, Target};
use crate::tasks::{noop, payload};

const CALLERS: u64 = 64;

const ONE_BY_ONE: &str = "enqueue/one-by-one";
const CALLERS_64: &str = "enqueue/64-callers";
const BULK: &str = "enqueue/bulk";

pub(crate) const SPECS: &[Spec] = &[
    Spec {
        name: ONE_BY_ONE,
        unit: "tasks/s",
        raw: "LPUSH, each awaited",
        targets: &[Target {
            of: Of::Ratio,
            bound: Bound::AtLeast(0.85),
        }],
    },
    Spec {
        name: CALLERS_64,
        unit: "tasks/s",
        raw: "LPUSH by 64 callers on one connection",
        targets: &[Target {
            of: Of::Speed,
            bound: Bound::AtLeast(100_000.0),
        }],
    },
    Spec {
        name: BULK,
        unit: "tasks/s",
        raw: "pipelined LPUSH",
        targets: &[Target {
            of: Of::Speed,
            bound: Bound::AtLeast(400_000.0),
        }],
    },
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let (awaited, tasks) = (bench.tasks / 20, bench.tasks);
    if bench.wants(ONE_BY_ONE) {
        let raw = bench.site.raw.push(awaited).await?;
        let ours = one_by_one(bench, awaited).await?;
        bench.record(ONE_BY_ONE, Sample::from(ours).beside(raw));
    }
    if bench.wants(CALLERS_64) {
        let raw = bench.site.raw.push_by_callers(CALLERS, tasks / 2).await?;
        let ours = by_callers(bench, tasks / 2).await?;
        bench.record(CALLERS_64, Sample::from(ours).beside(raw));
    }
    if bench.wants(BULK) {
        let raw = bench.site.raw.push_pipelined(tasks).await?;
        let ours = bulk(bench, tasks).await?;
        bench.record(BULK, Sample::from(ours).beside(raw));
    }
    Ok(())
}

async fn one_by_one(bench: &mut Bench, count: u64) -> Result<f64> {
    let client = warm(bench).await?;
    let start = Instant::now();
    for _ in 0..count {
        client.send(noop(payload())).await?;
    }
    let rate = rate(count, start);
    bench.site.flush().await?;
    Ok(rate)
}

async fn by_callers(bench: &mut Bench, count: u64) -> Result<f64> {
    let client = warm(bench).await?;
    let each = count / CALLERS;
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    client.send(noop(payload())).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let rate = rate(each * CALLERS, start);
    bench.site.flush().await?;
    Ok(rate)
}

async fn bulk(bench: &mut Bench, count: u64) -> Result<f64> {
    let client = warm(bench).await?;
    let start = Instant::now();
    client.send_all((0..count).map(|_| noop(payload()))).await?;
    let rate = rate(count, start);
    bench.site.flush().await?;
    Ok(rate)
}

/// A client that has sent once: the server knows the script.
async fn warm(bench: &Bench) -> Result<Client> {
    let client = bench.site.client().await?;
    client.send(noop(payload())).await?;
    Ok(client)
}
