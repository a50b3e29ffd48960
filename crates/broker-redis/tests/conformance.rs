//! The laws of a broker, on Redis.

use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_conformance::Harness;
use lovage_core::Clock;
use lovage_test_redis::RedisServer;

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
