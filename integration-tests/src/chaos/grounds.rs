//! What stores the tasks of a run, and the ways to it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lovage::Client;
use lovage_core::{TaskId, ms, secs};
use lovage_test_redis::{Cluster, Fault, FaultProxy, RedisServer, Sentinels};

use super::checker::Death;
use super::{Options, QUEUE};
use crate::audit::Audit;

const PAGE: usize = 500;
const LOOK_EVERY: Duration = ms(50);
/// A node of a cluster that is silent for so long is replaced.
const NODE_TIMEOUT: Duration = secs(2);

/// What kind of grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One Redis that syncs each write to disk; every connection goes through a proxy that breaks it.
    Single,
    /// A primary with two replicas and three sentinels.
    Sentinel,
    /// A cluster of three primaries with a replica each.
    Cluster,
}

/// The servers of a run, and its proxies.
#[derive(Debug)]
pub(crate) enum Grounds {
    Single(Single),
    Sentinel(Sentinels),
    /// With the slots of the queue's partitions.
    Cluster(Cluster, Vec<u16>),
}

/// One server, and the proxies before it.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) redis: RedisServer,
    /// One for each worker.
    pub(crate) workers: Vec<FaultProxy>,
    pub(crate) producer: FaultProxy,
}

impl Grounds {
    pub(crate) async fn lay(options: &Options) -> Result<Self> {
        let grounds = Self::start(options).await;
        if 1 < options.partitions {
            let client = grounds.quiet_client().await?;
            client.partition(QUEUE, options.partitions).await?;
        }
        Ok(grounds)
    }

    async fn start(options: &Options) -> Self {
        let server = RedisServer::builder().appendonly("always");
        match options.grounds {
            Kind::Single => {
                let redis = server.start().await;
                let mut workers = Vec::new();
                for _ in 0..options.workers {
                    workers.push(FaultProxy::start(&redis).await);
                }
                let producer = FaultProxy::start(&redis).await;
                Self::Single(Single {
                    redis,
                    workers,
                    producer,
                })
            }
            Kind::Sentinel => Self::Sentinel(Sentinels::start(server, 2).await),
            Kind::Cluster => {
                let cluster = Cluster::start(NODE_TIMEOUT).await;
                let mut slots = Vec::new();
                for partition in partitions(options) {
                    slots.push(cluster.slot(&format!("{{lovage:{partition}}}")).await);
                }
                Self::Cluster(cluster, slots)
            }
        }
    }

    pub(crate) fn worker_url(&self, slot: usize) -> String {
        match self {
            Self::Single(single) => single.workers[slot].url(),
            Self::Sentinel(_) | Self::Cluster(..) => self.url(),
        }
    }

    pub(crate) fn producer_url(&self) -> String {
        match self {
            Self::Single(single) => single.producer.url(),
            Self::Sentinel(_) | Self::Cluster(..) => self.url(),
        }
    }

    /// Past all proxies.
    fn url(&self) -> String {
        match self {
            Self::Single(single) => single.redis.url(),
            Self::Sentinel(sentinels) => sentinels.url(),
            Self::Cluster(cluster, _) => cluster.url(),
        }
    }

    /// A client past all proxies.
    pub(crate) async fn quiet_client(&self) -> Result<Client> {
        let client = Client::builder(self.url()).deadline(secs(20));
        Ok(client.connect().await?)
    }

    /// Whether a server may be replaced by one without its newest writes: there only a send that a replica has
    /// confirmed is kept for certain.
    pub(crate) fn may_lose_what_one_server_has(&self) -> bool {
        !matches!(self, Self::Single(_))
    }

    /// Ends the faults of the network.
    pub(crate) fn heal(&self) {
        if let Self::Single(single) = self {
            for proxy in single.workers.iter().chain([&single.producer]) {
                proxy.set(Fault::Pass);
            }
        }
    }

    /// The server that has a partition at present.
    async fn holder(&self, partition: usize) -> &RedisServer {
        match self {
            Self::Single(single) => &single.redis,
            Self::Sentinel(sentinels) => sentinels.primary().await,
            Self::Cluster(cluster, slots) => cluster.owner(slots[partition]).await,
        }
    }

    /// Waits until no task is ready, scheduled or active, and no callback is owed.
    pub(crate) async fn until_rest(&self, options: &Options, limit: Duration) -> Result<()> {
        let (client, until) = (self.quiet_client().await?, Instant::now() + limit);
        loop {
            // What dies behind the first look is owed at the second, or a task again at the third: a callback is one
            // before it is owed no more, and calls nobody itself.
            let first = client.counts(QUEUE).await?;
            let owed = self.owed(options).await;
            let counts = client.counts(QUEUE).await?;
            let left =
                [first, counts].map(|counts| counts.ready + counts.scheduled + counts.active);
            if left == [0, 0] && owed == 0 {
                return Ok(());
            }
            if until < Instant::now() {
                bail!(
                    "stuck: {limit:?} after all faults were healed there is still {counts:?}, and \
                     {owed} callbacks are owed"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How many callbacks are owed.
    async fn owed(&self, options: &Options) -> u64 {
        let mut owed = 0;
        for (number, partition) in partitions(options).enumerate() {
            let key = format!("{{lovage:{partition}}}:callbacks");
            let holder = self.holder(number).await;
            owed += holder.cli::<u64>(&["ZCARD", &key]).await.unwrap_or(1);
        }
        owed
    }

    /// All dead letters.
    pub(crate) async fn dead_letters(&self) -> Result<HashMap<TaskId, Death>> {
        let client = self.quiet_client().await?;
        let (dead, mut all) = (client.dead_letters_of(QUEUE)?, HashMap::new());
        loop {
            let page = dead.list(all.len(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.iter().map(|letter| (letter.id, Death::of(letter))));
        }
    }

    /// Nothing is in two places, and nothing is left beside the dead letters.
    pub(crate) async fn audit(&self, options: &Options) -> Result<()> {
        for (number, partition) in partitions(options).enumerate() {
            let audit = Audit::of(self.holder(number).await, &partition).await;
            if let Err(left) = audit.at_rest() {
                bail!("left behind at rest in {partition}:\n{left}");
            }
        }
        Ok(())
    }
}

/// What stands for the queue in the hash tag of each of its partitions.
fn partitions(options: &Options) -> impl Iterator<Item = String> {
    (0..options.partitions).map(|number| match number {
        0 => QUEUE.to_owned(),
        number => format!("{QUEUE}#{number}"),
    })
}
