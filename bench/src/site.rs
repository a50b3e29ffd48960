//! A server with what speaks to it: raw Redis on one side, Lovage on the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lovage::Client;
use lovage_test_redis::{Builder, RedisServer};
use tokio::time::sleep;

use crate::raw::Raw;
use crate::server::{self, Counters};
use crate::tasks::QUEUE;

/// A whole backlog may be on its way when the machine has other things to do.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at whether a queue is empty: seldom enough not to slow it down.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A server of this run's own.
pub(crate) struct Site {
    pub(crate) raw: Raw,
    server: RedisServer,
}

impl Site {
    /// Starts a server.
    pub(crate) async fn start(server: Builder) -> Result<Self> {
        let server = server.try_start().await?;
        let raw = Raw::connect(&server.url()).await?;
        Ok(Self { raw, server })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::builder(self.url())
            .deadline(DEADLINE)
            .connect()
            .await
            .context("client")
    }

    /// What the server tells.
    pub(crate) async fn version(&self) -> Result<String> {
        server::version(&mut self.raw.connection()).await
    }

    /// The server's counters now.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        Counters::read(&mut self.raw.connection()).await
    }

    /// Empties the server.
    pub(crate) async fn flush(&self) -> Result<()> {
        server::flush(&mut self.raw.connection()).await
    }

    /// Waits until the queue holds nothing that shall still run.
    pub(crate) async fn until_settled(&self, client: &Client) -> Result<()> {
        loop {
            let counts = client.counts(QUEUE).await?;
            if counts.ready + counts.scheduled + counts.active == 0 {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
