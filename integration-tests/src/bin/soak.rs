//! `cargo xtask soak`: the long run without faults, and what grew.
#![expect(clippy::print_stdout, reason = "a command line speaks to its terminal")]

use std::env;

use anyhow::{Context as _, Result};
use clap::Parser;
use lovage_core::mins;
use lovage_integration_tests::soak::{Options, run};

/// Works with every feature at a steady pace, and shows the memory of each process and the keys in Redis.
#[derive(Parser, Debug)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Rounds of sends a second, some thirty tasks each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let own = env::current_exe()?;
    let folder = own.parent().context("a program stands in a folder")?;
    let options = Options {
        worker: folder.join("test-worker"),
        beat: folder.join("test-beat"),
        span: mins(args.minutes),
        rounds_per_second: args.rounds,
    };
    println!("{}", run(&options).await?);
    Ok(())
}
