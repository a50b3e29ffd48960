//! What raw Redis reaches by itself, for judging the machine.

use anyhow::Result;

use crate::bench::Bench;
use crate::report::Spec;

const fn spec(name: &'static str, unit: &'static str) -> Spec {
    Spec {
        name,
        unit,
        raw: "",
        targets: &[],
    }
}

pub(crate) const SPECS: &[Spec] = &[
    spec("raw/ping", "trips/s"),
    spec("raw/push", "trips/s"),
    spec("raw/push-64-callers", "values/s"),
    spec("raw/push-pipelined", "values/s"),
    spec("raw/move-pipelined", "values/s"),
    spec("raw/claim-1", "values/s"),
    spec("raw/claim-10", "values/s"),
    spec("raw/claim-100", "values/s"),
];

/// Measures the rows wanted once.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let (awaited, tasks) = (bench.tasks / 20, bench.tasks);
    for spec in SPECS {
        if !bench.wants(spec.name) {
            continue;
        }
        let raw = &mut bench.site.raw;
        let value = match spec.name {
            "raw/ping" => raw.ping(awaited).await?,
            "raw/push" => raw.push(awaited).await?,
            "raw/push-64-callers" => raw.push_by_callers(64, tasks / 2).await?,
            "raw/push-pipelined" => raw.push_pipelined(tasks).await?,
            "raw/move-pipelined" => raw.move_pipelined(tasks).await?,
            "raw/claim-1" => raw.claim(1, awaited).await?,
            "raw/claim-10" => raw.claim(10, tasks / 2).await?,
            _ => raw.claim(100, tasks).await?,
        };
        bench.record(spec.name, value);
    }
    Ok(())
}
