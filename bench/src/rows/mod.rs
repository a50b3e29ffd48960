//! The rows, group by group.

mod beat;
mod drain;
mod due;
mod enqueue;
mod idle;
mod memory;
mod raw;
mod recovery;
mod start;

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::report::Spec;

/// All rows, in the order of the table.
pub(crate) fn specs() -> impl Iterator<Item = &'static Spec> {
    [
        raw::SPECS,
        enqueue::SPECS,
        drain::SPECS,
        start::SPECS,
        due::SPECS,
        beat::SPECS,
        memory::SPECS,
        idle::SPECS,
        recovery::SPECS,
    ]
    .into_iter()
    .flatten()
}

/// Measures each row that is wanted once.
pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    raw::run(bench).await.context("raw")?;
    enqueue::run(bench).await.context("enqueue")?;
    drain::run(bench).await.context("drain")?;
    start::run(bench).await.context("start")?;
    due::run(bench).await.context("due")?;
    beat::run(bench).await.context("beat")?;
    memory::run(bench).await.context("memory")?;
    idle::run(bench).await.context("idle")?;
    recovery::run(bench).await.context("recovery")?;
    bench.site.flush().await
}
