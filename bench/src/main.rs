//! Measures Lovage beside raw Redis, and prints a table. How to read it: `bench/README.md`.

mod bench;
mod machine;
mod process;
mod raw;
mod report;
mod roles;
mod rows;
mod server;
mod site;
mod stats;
mod tally;
mod tasks;

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::Parser;

use crate::bench::{Bench, Options};
use crate::roles::Role;

#[derive(Debug, Parser)]
#[command(version, about = "Measures Lovage beside raw Redis on this machine")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Lists the rows and measures nothing.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(role) = cli.role {
        return role.play().await;
    }
    let text = if cli.list {
        let names: Vec<_> = rows::specs().map(|spec| spec.name).collect();
        names.join("\n")
    } else {
        // Servers and workers are stopped when what holds them is dropped: leaving here early is a clean-up.
        let report = tokio::select! {
            report = Bench::run(cli.options) => report?,
            name = stop_signal() => bail!("stopped by {}", name?),
        };
        if cli.json {
            report.to_json()?
        } else {
            report.to_table()
        }
    };
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(())
}

/// Waits until somebody wants this program to end.
#[cfg(unix)]
async fn stop_signal() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => { pressed?; Ok("Ctrl-C") }
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = hang_up.recv() => Ok("SIGHUP"),
    }
}

#[cfg(not(unix))]
async fn stop_signal() -> Result<&'static str> {
    tokio::signal::ctrl_c().await?;
    Ok("Ctrl-C")
}
