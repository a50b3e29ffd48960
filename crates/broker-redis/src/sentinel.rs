//! Asking sentinels which server is the primary.
//!
//! One that lags behind names a server that was: whoever asks lets the server itself say what it is, and goes on to the
//! next sentinel otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lovage_core::TransportError;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo};

use crate::config::ConnectError;
use crate::error::connect_error;
use crate::site::{SentinelSite, at};

/// See the module.
pub(crate) struct Sentinels {
    clients: Vec<Client>,
    service: String,
    primary: ConnectionInfo,
    /// The place of the one that was right last: the first to be asked.
    right: AtomicUsize,
}

impl Sentinels {
    pub(crate) fn new(site: &SentinelSite) -> Result<Self, ConnectError> {
        let clients = site.sentinels.iter().cloned();
        Ok(Self {
            clients: clients
                .map(crate::connection::open_client)
                .collect::<Result<_, _>>()?,
            service: site.service.clone(),
            primary: site.primary.clone(),
            right: AtomicUsize::new(0),
        })
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The places of all, in the order in which to ask them.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.right.load(Ordering::Relaxed), self.clients.len());
        (first..first + count).map(move |place| place % count)
    }

    pub(crate) fn count(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn was_right(&self, place: usize) {
        self.right.store(place, Ordering::Relaxed);
    }

    /// Which server the sentinel at `place` takes for the primary.
    pub(crate) async fn ask(
        &self,
        place: usize,
        limit: Duration,
    ) -> Result<ConnectionInfo, ConnectError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let client = &self.clients[place];
        let asked = async {
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&settings)
                .await?;
            redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(&self.service)
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await
        };
        let address = client.get_connection_info().addr();
        match asked.await.map_err(connect_error)? {
            Some((host, port)) => Ok(at(&self.primary, &host, port)),
            None => Err(ConnectError::Misconfigured(TransportError::new(format!(
                "the sentinel {address} knows no service {:?}",
                self.service
            )))),
        }
    }
}
