//! What a waiting task takes of the server's memory.

use anyhow::Result;

use crate::bench::Bench;
use crate::report::{Bound, Of, Spec, Target};
use crate::stats::number;
use crate::tasks::{PAYLOAD_BYTES, noop, payload};

const PENDING: &str = "memory/pending-bytes";

pub(crate) const SPECS: &[Spec] = &[Spec {
    name: PENDING,
    unit: "bytes",
    raw: "",
    targets: &[Target {
        of: Of::Value,
        bound: Bound::AtMost(250.0),
    }],
}];

/// Measures the row once, if it is wanted.
pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants(PENDING) {
        return Ok(());
    }
    let count = bench.tasks / 2;
    let client = bench.site.client().await?;
    client.send(noop(payload())).await?;
    bench.site.flush().await?;
    let before = bench.site.counters().await?;
    client.send_all((0..count).map(|_| noop(payload()))).await?;
    let grown = bench.site.counters().await?.since(before).memory_bytes;
    bench.site.flush().await?;
    // The hundred bytes themselves; all that encodes and surrounds them counts as ours.
    let beyond = grown / number(count) - number(PAYLOAD_BYTES as u64);
    bench.record(PENDING, beyond);
    Ok(())
}
