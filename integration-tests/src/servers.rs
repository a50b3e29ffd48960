//! What stores the tasks of a stage: one server, those of sentinels, or a cluster.

use lovage_test_redis::{Cluster, RedisServer, Sentinels};

/// Servers that processes connect to by one URL.
pub trait Servers {
    /// Where to connect.
    fn url(&self) -> String;

    /// The server that has the keys of a hash tag at present, which is without its braces.
    fn holder(&self, tag: &str) -> impl Future<Output = &RedisServer>;
}

impl Servers for RedisServer {
    fn url(&self) -> String {
        self.url()
    }

    async fn holder(&self, _tag: &str) -> &RedisServer {
        self
    }
}

impl Servers for Sentinels {
    fn url(&self) -> String {
        self.url()
    }

    async fn holder(&self, _tag: &str) -> &RedisServer {
        self.primary().await
    }
}

impl Servers for Cluster {
    fn url(&self) -> String {
        self.url()
    }

    async fn holder(&self, tag: &str) -> &RedisServer {
        let slot = self.slot(&format!("{{{tag}}}")).await;
        self.owner(slot).await
    }
}
