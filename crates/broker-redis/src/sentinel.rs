//! Asking sentinels which server is the primary.
//!
//! One that lags behind names a server that was: whoever asks lets the server itself say what it is, and goes on to the
//! next sentinel otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lovage_core::TransportError;
use redis::{AsyncConnectionConfig, ConnectionInfo};

use crate::access::Access;
use crate::config::ConnectError;
use crate::error::connect_error;
use crate::site::{SentinelSite, at};

/// See the module.
pub(crate) struct Sentinels {
    site: SentinelSite,
    access: Access,
    /// The place of the one that was right last: the first to be asked.
    right: AtomicUsize,
}

impl Sentinels {
    pub(crate) fn new(site: SentinelSite, access: Access) -> Self {
        Self {
            site,
            access,
            right: AtomicUsize::new(0),
        }
    }

    pub(crate) fn service(&self) -> &str {
        &self.site.service
    }

    /// The places of all, in the order in which to ask them.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.right.load(Ordering::Relaxed), self.count());
        (first..first + count).map(move |place| place % count)
    }

    pub(crate) fn count(&self) -> usize {
        self.site.sentinels.len()
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
        let sentinel = self.site.sentinels[place].clone();
        let client = if self.site.sentinels_have_users {
            self.access.client_of_sentinel(sentinel)
        } else {
            self.access.client(sentinel)
        }?;
        let asked = async {
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&settings)
                .await?;
            redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(self.service())
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await
        };
        let info = client.get_connection_info();
        match asked.await.map_err(|error| connect_error(error, info))? {
            Some((host, port)) => Ok(at(&self.site.primary, &host, port)),
            None => Err(ConnectError::Misconfigured(TransportError::new(format!(
                "the sentinel {} knows no service {:?}",
                info.addr(),
                self.service()
            )))),
        }
    }
}
