//! The command line of a worker: flags, environment, file, defaults, in this order; then run until a signal.

mod args;
mod logs;
mod signals;

use anyhow::Context;
use lovage_core::{Membership, Registry, States};

pub use args::{Args, ConfigError, LogFormat};

use crate::health;
use crate::worker::Worker;

/// Runs a worker until a signal ends it: installs logging, signals and the health server, and starts the worker.
///
/// SIGTERM and SIGINT: the worker claims no more, lets runs end for the grace, gives back the rest, and this returns
/// `Ok`. A second signal gives everything back at once and ends the process, with exit code 0, within two seconds,
/// whatever the broker or the async runtime do.
///
/// # Errors
/// A configuration that makes no sense, a task without its state, an address that cannot be bound. Nothing that the
/// broker does is an error.
pub async fn run<B: Membership>(
    args: Args,
    broker: B,
    registry: Registry,
    states: States,
) -> anyhow::Result<()> {
    let args = args.resolve()?;
    logs::install(args.log_format());
    let signals = signals::Signals::listen().context("cannot listen for signals")?;
    let worker = Worker::builder(broker, registry)
        .states(states)
        .settings(args.settings())
        .start()
        .await?;
    if let Some(address) = args.health {
        let bound = health::serve(address, worker.shared())
            .with_context(|| format!("cannot serve health checks on {address}"))?;
        tracing::info!(address = %bound, "health checks are at /livez and /readyz");
    }
    signals
        .command(worker.commander(), args.settings().shutdown_grace)
        .context("cannot start the thread for signals")?;
    worker.ended().await;
    let sum = worker.stats();
    tracing::info!(
        done = sum.done,
        retried = sum.retried,
        buried = sum.buried,
        released = sum.released,
        left = sum.held,
        "the worker has ended"
    );
    Ok(())
}
