//! The command line of a worker: flags, environment, file, defaults, in this order; then run until a signal.

mod args;
mod signals;

use std::sync::Arc;

use anyhow::Context;
use lovage_core::{Callbacks, Membership, Registry, States};
pub use lovage_process::{BrokerArgs, BrokerArgsError, ConnectFailure, LogFormat, looked_at};
use lovage_process::{connected, health, install_logs};

pub use args::{Args, ConfigError};
use signals::Signals;

use crate::children::{self, Entry};
use crate::health::Watched;
use crate::worker::Worker;

/// Runs a worker until a signal ends it, on a broker that is there: see [`run_connecting`].
///
/// # Errors
/// As those of [`run_connecting`].
pub async fn run<B: Callbacks + Membership>(
    args: Args,
    broker: B,
    registry: Registry,
    states: States,
) -> anyhow::Result<()> {
    let connect = async || Ok(broker.clone());
    run_connecting(args, connect, registry, |_| states).await
}

/// Runs a worker until a signal ends it: installs logging, signals and the health server, connects, and starts the
/// worker. `states` makes what its tasks take of the broker.
///
/// A broker that is away is waited for, also at the start. SIGTERM and SIGINT: the worker claims no more, lets runs
/// end for the grace, gives back the rest, and this returns `Ok`; before the worker has started, it returns at once.
/// The process ends with exit code 0 at most four seconds after the grace, whatever the broker, the bodies or the
/// async runtime do. A second signal gives everything back at once and ends it within two seconds.
///
/// A worker that has reached `max_tasks` or `max_rss` ends as at a first signal: with exit code 0, so a supervisor is to
/// start another whatever the code.
///
/// In a child process of such a worker's process lane it runs what that worker says, until it hangs up.
///
/// # Errors
/// A configuration that makes no sense, a task without its state, an address that cannot be bound, a broker that
/// refuses until somebody acts at the start, a panic of the worker itself. Nothing that the broker does later is an error.
pub async fn run_connecting<B: Callbacks + Membership>(
    args: Args,
    connect: impl AsyncFn() -> Result<B, ConnectFailure>,
    registry: Registry,
    states: impl FnOnce(&B) -> States,
) -> anyhow::Result<()> {
    if let Some(entry) = children::entry()? {
        return serve_connecting(entry, args, connect, registry, states).await;
    }
    let args = args.resolve()?;
    args.broker.check()?;
    install_logs(args.log_format());
    let signals = Signals::listen().context("cannot listen for signals")?;
    let watched = Arc::new(Watched::default());
    if let Some(address) = args.health {
        let bound = health::serve(address, watched.clone())
            .with_context(|| format!("cannot serve health checks on {address}"))?;
        tracing::info!(address = %bound, "health checks are at /livez and /readyz");
    }
    let broker = tokio::select! {
        broker = connected(connect) => broker.context("the worker cannot start")?,
        () = signals.first() => return Ok(()),
    };
    let states = states(&broker);
    let worker = Worker::builder(broker, registry)
        .states(states)
        .settings(args.settings())
        .start()
        .await?;
    signals.command(worker.commander(), args.settings().shutdown_grace);
    watched.watch(|| worker.shared());
    worker.ended().await;
    if worker.outgrown().is_some() {
        signals::exit_soon();
    }
    let sum = worker.stats();
    tracing::info!(
        done = sum.done,
        retried = sum.retried,
        buried = sum.buried,
        cut = sum.cut,
        released = sum.released,
        left = sum.held,
        "the worker has ended"
    );
    anyhow::ensure!(
        !worker.shared().crashed(),
        "a part of the worker panicked; what it held returns when its lease ends"
    );
    Ok(())
}

/// Runs what a worker with the same `args` says, in this child of its process lane: installs logging, and serves until
/// the worker hangs up.
///
/// # Errors
/// A configuration that makes no sense, or a task of the process lane without its state.
pub async fn serve(
    entry: Entry,
    args: Args,
    registry: Registry,
    states: States,
) -> anyhow::Result<()> {
    let args = args.resolve()?;
    install_logs(args.log_format());
    entry.serve(registry, states).await
}

/// [`serve`] for tasks whose `states` are made of the broker, which is waited for.
///
/// # Errors
/// As those of [`serve`], and a broker that refuses until somebody acts.
pub async fn serve_connecting<B: Membership>(
    entry: Entry,
    args: Args,
    connect: impl AsyncFn() -> Result<B, ConnectFailure>,
    registry: Registry,
    states: impl FnOnce(&B) -> States,
) -> anyhow::Result<()> {
    let args = args.resolve()?;
    install_logs(args.log_format());
    let broker = connected(connect).await?;
    entry.serve(registry, states(&broker)).await
}
