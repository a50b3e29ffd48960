//! A worker for Redis that runs the tasks that are linked into it.
//!
//! By itself it links none and says so: a program with tasks calls `lovage::worker::run_cli()` in its own `main`.

use clap::Parser;
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{Registry, States};
use lovage_process::looked_at;
use lovage_worker::cli::{Args, ConnectFailure, run_connecting};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().resolve()?;
    let registry = Registry::linked().build()?;
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
    run_connecting(args, connect, registry, |_| States::new()).await
}
