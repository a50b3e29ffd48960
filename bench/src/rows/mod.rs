//! The rows, group by group.

mod raw;

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::report::Spec;

/// All rows, in the order of the table.
pub(crate) fn specs() -> impl Iterator<Item = &'static Spec> {
    [raw::SPECS].into_iter().flatten()
}

/// Measures each row that is wanted once.
pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    raw::run(bench).await.context("raw")?;
    bench.flush().await
}
