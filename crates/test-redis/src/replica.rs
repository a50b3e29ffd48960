//! A second server that follows the first.

use crate::info::until;
use crate::server::RedisServer;

impl RedisServer {
    /// Starts a replica of this server, and waits until it follows: from then on it gets each write at once.
    ///
    /// # Panics
    /// Where it cannot be started, or does not follow within a minute.
    pub async fn replica(&self) -> Self {
        // A primary waits five seconds for further replicas before it sends its data to the first.
        let at_once = ["CONFIG", "SET", "repl-diskless-sync-delay", "0"];
        let set = self.cli::<()>(&at_once).await;
        set.expect("the primary answers");
        let replica = Self::builder()
            .arg("replicaof", &format!("127.0.0.1 {}", self.port()))
            .start()
            .await;
        // Asked for a confirmation: a replica counts as online before it takes the stream.
        until("a replica follows", async || {
            let count = self.cli::<u64>(&["WAIT", "1", "100"]).await;
            matches!(count, Ok(1..)).then_some(())
        })
        .await;
        replica
    }

    /// Makes a replica a primary, as a failover does.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn promote(&self) {
        let promoted = self.cli::<()>(&["REPLICAOF", "NO", "ONE"]).await;
        promoted.expect("the replica answers");
    }
}
