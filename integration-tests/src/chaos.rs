//! The long run under random faults, and the checker of its history: the proof that a sceptic can run.
//!
//! [`run`] sends tasks of several kinds while it kills, freezes and replaces workers, breaks their connections and the
//! producers', and restarts, freezes or fails over what stores the tasks. Every send, start, end and acknowledgement is
//! recorded with its ids. At the end all faults are healed, everything drains, and the [`checker`] compares what was
//! promised with what happened: nothing lost, each repeated run explained by a fault that can have caused it, no at-most-once
//! task run twice, one task of a key at a time, one callback a death, no key and no process left behind.

pub mod checker;
mod crew;
mod failovers;
mod faults;
mod grounds;
mod ledger;
mod load;
mod report;
mod windows;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lovage_core::{Clock, ms, secs};
use tempfile::TempDir;

use crate::journal::Journal;
use crew::Crew;
use grounds::Grounds;
use ledger::Ledger;
use load::Load;
use windows::Windows;

pub use checker::Findings;
pub use grounds::Kind as GroundsKind;

/// The queue of a run.
pub(crate) const QUEUE: &str = "default";
/// How long everything may take to drain once all faults are healed.
const REST_LIMIT: Duration = secs(180);
/// What a first run may take to begin once Redis and the workers are there.
const WARM_UP: Duration = ms(500);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The worker program.
    pub worker: PathBuf,
    /// What stores the tasks.
    pub grounds: GroundsKind,
    /// Over how many partitions the queue is spread.
    pub partitions: u64,
    /// The sends stop at this many, or
    pub tasks_max: u64,
    /// after this long, whichever comes first.
    pub span_max: Duration,
    /// Decides the order of faults and of kinds of tasks. What the processes make of them is their own affair.
    pub seed: u64,
    /// Worker processes at any time.
    pub workers: usize,
    /// Their lease.
    pub lease: Duration,
    /// The pause between two faults, at most.
    pub pause_max: Duration,
    /// A new folder in which the journal and the logs of the workers are left.
    pub keep: Option<PathBuf>,
}

impl Options {
    /// A run of `tasks_max` tasks on one Redis with three workers of this program.
    pub fn new(worker: impl Into<PathBuf>, tasks_max: u64) -> Self {
        Self {
            worker: worker.into(),
            grounds: GroundsKind::Single,
            partitions: 1,
            tasks_max,
            span_max: Duration::MAX,
            seed: fastrand::u64(..),
            workers: 3,
            lease: ms(1500),
            pause_max: ms(600),
            keep: None,
        }
    }
}

/// Runs it and checks its history.
///
/// # Errors
/// What was promised and did not happen, or a fault that could not be brought about; with the seed.
pub async fn run(options: &Options) -> Result<Findings> {
    let seed = options.seed;
    play(options)
        .await
        .with_context(|| format!("a run of chaos with seed {seed} on {:?}", options.grounds))
}

async fn play(options: &Options) -> Result<Findings> {
    let temporary = TempDir::with_prefix("lovage-chaos-")?;
    let folder = options.keep.as_deref().unwrap_or(temporary.path());
    if let Some(kept) = &options.keep {
        fs::create_dir(kept).with_context(|| format!("cannot make {}", kept.display()))?;
    }
    let journal = Journal::in_folder(folder);
    let grounds = Grounds::lay(options).await?;
    let mut crew = Crew::hire(options, &grounds, &journal, folder);
    let ledger = Ledger::default();
    let windows = Windows::default();
    let load = Load::start(options, &grounds, &ledger).await?;
    tokio::time::sleep(WARM_UP).await;

    let mut random = fastrand::Rng::with_seed(options.seed);
    while !load.is_done() {
        let pause = random.f64() * options.pause_max.as_secs_f64();
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        faults::strike(&mut random, &grounds, &mut crew, &windows, options).await?;
    }
    load.end().await;
    grounds.heal();
    crew.all_alive()?;
    let rest_began = Instant::now();
    grounds.until_rest(options, REST_LIMIT).await?;
    let drained_in = rest_began.elapsed();
    let dead = grounds.dead_letters().await?;
    grounds.audit(options).await?;
    crew.dismiss().await?;
    crew::until_no_process_is_left(&journal).await?;

    let facts = checker::Facts {
        ledger: ledger.close(),
        windows: windows.close(),
        dead,
        lease: options.lease,
        checked_at: Clock::System.now(),
    };
    let mut findings = checker::check(&journal, &facts)?;
    findings.drained_in = drained_in;
    Ok(findings)
}
