//! A worker for Redis that runs the tasks that are linked into it.
//!
//! By itself it links none and says so: a program with tasks calls `lovage::worker::run_cli()` in its own `main`.

use anyhow::Context;
use clap::Parser;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{Registry, States};
use lovage_worker::cli::{Args, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().resolve()?;
    let registry = Registry::linked().build()?;
    let config = RedisConfig::new(args.broker_url()).namespace(args.namespace());
    let broker = RedisBroker::connect(&config)
        .await
        .context("cannot connect to the broker")?;
    run(args, broker, registry, States::new()).await
}
