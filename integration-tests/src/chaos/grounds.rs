//! What stores the tasks of a run, and the ways to it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lovage::Client;
use lovage_core::{FailureKind, TaskId, ms, secs};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

use super::{Options, QUEUE};
use crate::audit::Audit;

const PAGE: usize = 500;
const LOOK_EVERY: Duration = ms(50);

/// What kind of grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One Redis that syncs each write to disk; every connection goes through a proxy that breaks it.
    Single,
}

/// The servers of a run, and its proxies.
#[derive(Debug)]
pub(crate) struct Grounds {
    redis: RedisServer,
    workers: Vec<FaultProxy>,
    producer: FaultProxy,
}

impl Grounds {
    pub(crate) async fn lay(options: &Options) -> Result<Self> {
        let redis = RedisServer::builder().appendonly("always").start().await;
        let mut workers = Vec::new();
        for _ in 0..options.workers {
            workers.push(FaultProxy::start(&redis).await);
        }
        let producer = FaultProxy::start(&redis).await;
        Ok(Self {
            redis,
            workers,
            producer,
        })
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        &self.redis
    }

    /// The proxy of a worker.
    pub(crate) fn worker(&self, slot: usize) -> &FaultProxy {
        &self.workers[slot]
    }

    /// The proxy of the producers.
    pub(crate) fn producer(&self) -> &FaultProxy {
        &self.producer
    }

    pub(crate) fn worker_url(&self, slot: usize) -> String {
        self.workers[slot].url()
    }

    pub(crate) fn producer_url(&self) -> String {
        self.producer.url()
    }

    /// A client past all proxies.
    pub(crate) async fn quiet_client(&self) -> Result<Client> {
        let client = Client::builder(self.redis.url()).deadline(secs(20));
        Ok(client.connect().await?)
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        for proxy in self.workers.iter().chain([&self.producer]) {
            proxy.set(Fault::Pass);
        }
    }

    /// Waits until no task is ready, scheduled or active.
    pub(crate) async fn until_rest(&self, limit: Duration) -> Result<()> {
        let (client, until) = (self.quiet_client().await?, Instant::now() + limit);
        loop {
            let counts = client.counts(QUEUE).await?;
            if counts.ready + counts.scheduled + counts.active == 0 {
                return Ok(());
            }
            if until < Instant::now() {
                bail!("stuck: {limit:?} after all faults were healed there is still {counts:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// All dead letters, and why each died.
    pub(crate) async fn dead_letters(&self) -> Result<HashMap<TaskId, FailureKind>> {
        let (client, mut all) = (self.quiet_client().await?, HashMap::new());
        loop {
            let page = client.dead_letters(QUEUE, all.len(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.iter().map(|letter| (letter.id, letter.failure.kind)));
        }
    }

    /// Nothing is in two places, and nothing is left beside the dead letters.
    pub(crate) async fn audit(&self) -> Result<()> {
        let audit = Audit::of(&self.redis, QUEUE).await;
        match audit.at_rest() {
            Ok(()) => Ok(()),
            Err(left) => bail!("left behind at rest:\n{left}"),
        }
    }
}
