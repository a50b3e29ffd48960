//! What servers say of themselves, and waiting until they say it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::server::RedisServer;

/// Generous: elections take seconds, and more on a machine under load.
const LIMIT: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl RedisServer {
    /// The fields of a section of `INFO`; none where it does not answer.
    pub async fn info(&self, section: &str) -> HashMap<String, String> {
        let text: String = self.cli(&["INFO", section]).await.unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    }

    /// Whether it is a primary, by its own words.
    pub async fn is_primary(&self) -> bool {
        self.info("replication")
            .await
            .get("role")
            .is_some_and(|role| role == "master")
    }

    /// Whether it is a replica that has its primary's data and is told what changes.
    pub(crate) async fn follows(&self) -> bool {
        self.info("replication")
            .await
            .get("master_link_status")
            .is_some_and(|status| status == "up")
    }

    /// Waits until `replica` has everything that this server has written so far.
    ///
    /// # Panics
    /// Where it does not get it in time.
    pub async fn replicated_to(&self, replica: &RedisServer) {
        let offset = async |server: &RedisServer, name: &str| {
            let info = server.info("replication").await;
            info.get(name).and_then(|text| text.parse::<u64>().ok())
        };
        let written = until("the primary answers", async || {
            offset(self, "master_repl_offset").await
        })
        .await;
        until("a replica has it all", async || {
            let has = offset(replica, "slave_repl_offset").await?;
            (written <= has).then_some(())
        })
        .await;
    }
}

/// Looks until there is an answer.
///
/// # Panics
/// After a minute, with what was awaited.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < limit, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
