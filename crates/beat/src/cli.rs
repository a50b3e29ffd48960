//! The command line of a beat: fires schedules until a signal ends it, or answers a question about them.

mod args;
mod check;
mod explain;
mod follow;
mod list;
mod notes;
mod probe;
mod show;
mod signals;

use std::sync::Arc;

use anyhow::Context;
use lovage_core::{Inspect, Registry, Schedules};
pub use lovage_process::{BrokerArgs, BrokerArgsError, ConnectFailure, looked_at};
use lovage_process::{connected, health, install_logs};

use args::Question;
pub use args::{Args, ConfigError};
use follow::Follower;
use probe::Watched;
use signals::Signals;

use crate::beat::Beat;
use crate::entry::Origin;
use crate::periodic::PeriodicDef;
use crate::sources::Source;

/// Runs a beat until a signal ends it, or answers the question that the flags ask: installs logging, signals and the
/// health server, reads the sources, connects, and starts the beat.
///
/// `tasks` are those whose own options are known here; `periodic` are the schedules in the code.
///
/// A broker that is away is waited for, also at the start; a question is not. SIGTERM and SIGINT: the beat gives up the
/// lead, and this returns `Ok`. The process ends with exit code 0 within two seconds, whatever the broker or the async
/// runtime do. A second signal ends it at once. SIGHUP reads the schedule file again.
///
/// # Errors
/// A configuration, a schedule in the code or a schedule file that makes no sense, an address that cannot be bound, a
/// broker that refuses until somebody acts, a panic of the beat itself. Nothing that the broker does later is an error,
/// and neither is what becomes of the file later.
pub async fn run_connecting<B: Schedules + Inspect>(
    args: Args,
    connect: impl AsyncFn() -> Result<B, ConnectFailure>,
    tasks: Registry,
    periodic: Vec<PeriodicDef>,
) -> anyhow::Result<()> {
    let args = args.resolve()?;
    let question = args.question();
    if let Some(Question::Check(file)) = question {
        return check::print(file, &tasks, args.json);
    }
    args.broker.check()?;
    let Some(question) = question else {
        return run(args, connect, tasks, periodic).await;
    };
    let broker = connect().await.map_err(|error| match error {
        ConnectFailure::ForNow(error) | ConnectFailure::ForGood(error) => error,
    })?;
    match question {
        Question::Explain(name) => explain::print(&broker, name, args.count(), args.json).await,
        _ => list::print(&broker, args.json).await,
    }
}

async fn run<B: Schedules + Inspect>(
    args: Args,
    connect: impl AsyncFn() -> Result<B, ConnectFailure>,
    tasks: Registry,
    periodic: Vec<PeriodicDef>,
) -> anyhow::Result<()> {
    install_logs(args.log_format());
    let signals = Signals::listen().context("cannot listen for signals")?;
    let watched = Arc::new(Watched::default());
    if let Some(address) = args.health {
        let bound = health::serve(address, watched.clone())
            .with_context(|| format!("cannot serve health checks on {address}"))?;
        tracing::info!(address = %bound, "health checks are at /livez and /readyz");
    }
    let app = args.app();
    let mut sources = vec![Source {
        entries: PeriodicDef::entries(periodic, &app)?,
        origin: Origin::Code(app),
    }];
    let follower = match args.schedules.clone() {
        None => None,
        Some(path) => {
            let (follower, source) = Follower::begin(path, tasks).await?;
            sources.push(source);
            Some(follower)
        }
    };
    let broker = tokio::select! {
        broker = connected(connect) => broker.context("the beat cannot start")?,
        () = signals.first() => return Ok(()),
    };
    let beat = Beat::builder(broker)
        .sources(sources)
        .lease(args.lease())
        .start()
        .await?;
    let beat = Arc::new(beat);
    watched.watch(&beat);
    let follow = async {
        match follower {
            Some(follower) => follower.run(&beat, &signals).await,
            None => signals.ignore_hangups().await,
        }
    };
    tokio::select! {
        () = signals.first() => {}
        () = beat.ended() => anyhow::bail!("a part of the beat panicked; another beat goes on when its lease ends"),
        () = follow => {}
        () = watched.pulse() => {}
    }
    beat.shutdown().await;
    let sum = beat.stats();
    tracing::info!(
        fired = sum.fired,
        skipped = sum.skipped,
        forwarded = sum.forwarded,
        errors = sum.errors,
        led = sum.led,
        "the beat has ended"
    );
    Ok(())
}
