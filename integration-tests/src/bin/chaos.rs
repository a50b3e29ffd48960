//! `cargo xtask chaos`: the long run under random faults.
#![expect(clippy::print_stdout, reason = "a command line speaks to its terminal")]

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result};
use clap::Parser;
use lovage_core::{mins, ms};
use lovage_integration_tests::chaos::{GroundsKind, Options, run};

/// A run of so many tasks has seen every kind of task and fault, or it is no proof.
const BROAD_FROM: usize = 100_000;

/// Sends tasks of every kind under random faults, and checks that nothing is lost, and nothing repeated, dead or left without a reason.
///
/// Ends with status 1 at the first run whose history breaks a promise, with the violations and the seed; also where a run of
/// 100,000 tasks or more has not seen all kinds of tasks. Each run needs about 400 bytes of memory and 250 of disk a task.
#[derive(Parser, Debug)]
struct Args {
    /// Ends the sends after this long.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Ends the sends after so many, if the minutes are not over before.
    #[arg(long, default_value_t = u64::MAX)]
    tasks: u64,
    /// Over how many partitions the queue is spread.
    #[arg(long, default_value_t = 1)]
    partitions: u64,
    /// What stores the tasks: `single`, `sentinel` or `cluster`; all of them one after the other unless set.
    #[arg(long, value_enum)]
    on: Option<GroundsKind>,
    /// Repeats the faults of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Worker processes at any time.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// The lease of the workers, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    lease_ms: u64,
    /// A new folder in which the journal and the logs of the workers are left.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let worker = env::current_exe()?
        .parent()
        .context("a program stands in a folder")?
        .join("test-worker");
    let options = Options {
        span_max: mins(args.minutes),
        partitions: args.partitions,
        workers: args.workers,
        lease: ms(args.lease_ms),
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        ..Options::new(worker, args.tasks)
    };
    let all = [
        GroundsKind::Single,
        GroundsKind::Sentinel,
        GroundsKind::Cluster,
    ];
    for grounds in args.on.map_or(all.to_vec(), |one| vec![one]) {
        println!("{grounds:?}, seed {}", options.seed);
        let keep = match &args.keep {
            Some(folder) => {
                fs::create_dir_all(folder)?;
                Some(folder.join(format!("{grounds:?}").to_lowercase()))
            }
            None => None,
        };
        let findings = run(&Options {
            grounds,
            keep,
            ..options.clone()
        })
        .await?;
        println!("{findings}\n");
        if BROAD_FROM <= findings.accepted {
            findings.ensure_broad()?;
        }
    }
    Ok(())
}
