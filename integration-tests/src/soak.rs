//! The long run without faults: every feature at a steady pace, and a look at what grows.
//!
//! What a process leaks shows only over time. [`run`] lets producers, two workers and a beat work for as long as one
//! likes and writes down the memory of each process, and of Redis, at every tenth of it. Then the load ends, what was
//! kept for a while runs out, and the keys must be what they were before it began.

mod load;
mod memory;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lovage_core::secs;
use lovage_test_redis::RedisServer;

use crate::process::Process;
use crate::stage::Stage;
use load::Load;
use memory::Sample;

/// How often the memory is looked at.
const SAMPLES: u32 = 10;
/// How long what is left at the end may take to run out: results, and what else is kept for a span.
const RUN_OUT_LIMIT: Duration = secs(90);
const LOOK_EVERY: Duration = secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The worker program.
    pub worker: PathBuf,
    /// The beat program.
    pub beat: PathBuf,
    /// For how long.
    pub span: Duration,
    /// Rounds of sends a second; each sends some of every kind.
    pub rounds_per_second: u32,
}

/// What the run found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Sends that were accepted.
    pub sent: u64,
    /// Before the load began.
    pub before: Sample,
    /// While it went on.
    pub during: Vec<Sample>,
    /// When all was at rest again.
    pub after: Sample,
}

/// Runs it.
///
/// # Errors
/// A send that is refused, a process that ends, keys that stay.
pub async fn run(options: &Options) -> Result<Findings> {
    let path = |path: &PathBuf| path.display().to_string();
    let redis = RedisServer::builder().appendonly("everysec").start().await;
    let stage = Stage::over(redis, &path(&options.worker), &path(&options.beat));
    let worker = stage.worker().variable("RUST_LOG", "error");
    let beat = stage.beat().variable("RUST_LOG", "error");
    let mut processes = [worker.spawn(), worker.spawn(), beat.spawn()];
    stage.known_workers(2).await;
    let load = Load::prepare(&stage, processes.iter().map(Process::pid).collect()).await?;
    let before = Sample::take(&stage, &processes).await?;

    let began = Instant::now();
    let mut during = Vec::new();
    for part in 1..=SAMPLES {
        let until = began + options.span * part / SAMPLES;
        load.go_on(until, options.rounds_per_second).await?;
        all_alive(&mut processes)?;
        during.push(Sample::take(&stage, &processes).await?);
    }
    let sent = load.end(&stage).await?;
    memory::check_passing(&stage, sent).await?;
    let after = at_base(&stage, &processes, &before).await?;
    Ok(Findings {
        sent,
        before,
        during,
        after,
    })
}

fn all_alive(processes: &mut [Process]) -> Result<()> {
    for process in processes {
        let ended = process.ended();
        ensure!(ended.is_none(), "a process ended with {ended:?}");
    }
    Ok(())
}

/// Waits until no more keys are there than before the load.
async fn at_base(stage: &Stage, processes: &[Process], before: &Sample) -> Result<Sample> {
    let limit = Instant::now() + RUN_OUT_LIMIT;
    loop {
        memory::let_run_out(stage).await?;
        let sample = Sample::take(stage, processes).await?;
        if sample.keys <= before.keys && sample.passing == 0 {
            return Ok(sample);
        }
        ensure!(
            Instant::now() < limit,
            "{} keys were there before the load, {} are after it: {:?}",
            before.keys,
            sample.keys,
            memory::some_keys(stage).await?
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent {}", self.sent)?;
        writeln!(f, "          {}", Sample::HEADINGS)?;
        writeln!(f, "before    {}", self.before)?;
        for (part, sample) in (1..).zip(&self.during) {
            writeln!(f, "{:>4} %    {sample}", part * 100 / SAMPLES)?;
        }
        write!(f, "at rest   {}", self.after)
    }
}
