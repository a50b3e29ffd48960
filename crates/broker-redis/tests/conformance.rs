//! The laws of a broker, on Redis: on one server, on a primary that sentinels name, on a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_conformance::Harness;
use lovage_core::{Clock, secs};
use lovage_test_redis::{Cluster, RedisServer, Sentinels};

/// No spurious failover, however busy the machine is.
const NODE_TIMEOUT: Duration = secs(15);

/// A server for each law.
#[derive(Default)]
struct RedisHarness {
    server: Option<RedisServer>,
}

impl Harness for RedisHarness {
    type Broker = RedisBroker;

    async fn start(&mut self, clock: Clock) -> RedisBroker {
        let server = RedisServer::start().await;
        let config = RedisConfig::new(server.url()).clock(clock);
        self.server = Some(server);
        RedisBroker::connect(&config)
            .await
            .expect("the server answers")
    }
}

lovage_conformance::suite!(RedisHarness::default());

/// A namespace for each law, and so other slots.
#[derive(Clone)]
struct Shared {
    url: String,
    laws: Arc<AtomicU32>,
}

impl Shared {
    fn at(url: String) -> Self {
        let laws = Arc::default();
        Self { url, laws }
    }
}

impl Harness for Shared {
    type Broker = RedisBroker;

    async fn start(&mut self, clock: Clock) -> RedisBroker {
        let law = self.laws.fetch_add(1, Ordering::Relaxed);
        let config = RedisConfig::new(&self.url)
            .namespace(format!("law-{law}"))
            .clock(clock);
        RedisBroker::connect(&config)
            .await
            .expect("the servers answer")
    }
}

#[tokio::test]
async fn a_cluster_holds_all_laws() {
    let cluster = Cluster::start(NODE_TIMEOUT).await;
    let harness = Shared::at(cluster.url());
    lovage_conformance::suite!(all: harness.clone()).await;
}

#[tokio::test]
async fn a_primary_that_sentinels_name_holds_all_laws() {
    let servers = Sentinels::start(RedisServer::builder(), 1).await;
    let harness = Shared::at(servers.url());
    lovage_conformance::suite!(all: harness.clone()).await;
}
