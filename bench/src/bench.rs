//! One run: the server, what is wanted of it, and the samples.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lovage_test_redis::RedisServer;

use crate::machine::Machine;
use crate::report::{Report, Sample};
use crate::rows;
use crate::site::Site;

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Measures only the rows whose name starts so; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often each row is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The backlog of a drain; the other counts follow it.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(2_000..=10_000_000))]
    tasks: u64,
}

/// A run under way.
pub(crate) struct Bench {
    pub(crate) site: Site,
    pub(crate) tasks: u64,
    only: Vec<String>,
    samples: HashMap<&'static str, Vec<Sample>>,
}

impl Bench {
    /// Measures all that is wanted.
    pub(crate) async fn run(options: Options) -> Result<Report> {
        let site = Site::start(RedisServer::builder()).await?;
        let machine = Machine::here(site.version().await?);
        let mut bench = Self {
            site,
            tasks: options.tasks,
            only: options.only,
            samples: HashMap::new(),
        };
        for wanted in &bench.only {
            ensure!(
                rows::specs().any(|spec| spec.name.starts_with(wanted.as_str())),
                "no row is named {wanted:?}...; --list shows them"
            );
        }
        // Round by round, not row by row: a slow minute of the machine touches one sample of each row.
        for round in 1..=options.rounds {
            rows::measure(&mut bench)
                .await
                .with_context(|| format!("round {round}"))?;
        }
        let samples: Vec<_> = rows::specs()
            .map(|spec| (*spec, bench.samples.remove(spec.name).unwrap_or_default()))
            .collect();
        Ok(Report::new(machine, &samples))
    }

    /// Whether the row of this name is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    /// Notes a measurement of a row, if that row is wanted.
    pub(crate) fn record(&mut self, name: &'static str, sample: impl Into<Sample>) {
        if self.wants(name) {
            self.samples.entry(name).or_default().push(sample.into());
        }
    }
}
