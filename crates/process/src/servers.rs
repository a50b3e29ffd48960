//! What is wrong with the broker's servers, said once at the start.

use std::time::Duration;

use lovage_core::{Checkup, secs};
use tokio::time::timeout;

/// A server that takes longer to say how it is set up is not waited for.
const LOOK_MAX: Duration = secs(10);

/// Gives `broker` back, and warns in the background of each thing that is wrong with its servers.
pub fn looked_at<B: Checkup>(broker: B) -> B {
    tokio::spawn(warn_of_servers(broker.clone()));
    broker
}

/// Warns of each thing that is wrong with a server: nobody who loses tasks to its settings was not told.
///
/// What a server does not tell, as where its access rules forbid it, is passed over.
async fn warn_of_servers<B: Checkup>(broker: B) {
    match timeout(LOOK_MAX, broker.servers()).await {
        Ok(Ok(servers)) => {
            for finding in servers.iter().flat_map(lovage_core::ServerLook::findings) {
                tracing::warn!(server = %finding.place, kind = %finding.kind, "{}", finding.what);
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "the broker's servers were not looked at"),
        Err(_) => tracing::debug!("the broker's servers did not say in time how they are set up"),
    }
}
