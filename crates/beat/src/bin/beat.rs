//! A beat for Redis, with the schedules of a file and those that are linked into it.
//!
//! By itself it links none: a program with `#[periodic]` calls `lovage::beat::run_cli()` in its own `main`.

use clap::Parser;
use lovage_beat::PeriodicDef;
use lovage_beat::cli::{Args, run_connecting};
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{Registry, RegistryError, inventory};
use lovage_process::ConnectFailure;
use lovage_process::looked_at;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().resolve()?;
    let tasks = match Registry::linked().build() {
        // A schedule names its task; what the task is, only the worker has to know.
        Err(RegistryError::Empty) => Registry::default(),
        built => built?,
    };
    let periodic = inventory::iter::<PeriodicDef>
        .into_iter()
        .copied()
        .collect();
    let config = RedisConfig::new(args.broker.url())
        .namespace(args.broker.namespace())
        .files(args.broker.files());
    let connect = async || {
        RedisBroker::connect(&config)
            .await
            .map(looked_at)
            .map_err(|error| match error {
                ConnectError::Unreachable(_) => ConnectFailure::ForNow(error.into()),
                _ => ConnectFailure::ForGood(error.into()),
            })
    };
    run_connecting(args, connect, tasks, periodic).await
}
