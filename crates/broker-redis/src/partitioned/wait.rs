//! Waits for the bell of any partition.

use std::time::Duration;

use futures_util::future::select_all;
use lovage_core::{BrokerError, QueueName};

use crate::broker::Shared;

/// Ends with the first ring. A second one that came at the same time goes to another waiter, as its own wait is dropped.
pub(crate) async fn wait(
    shared: &Shared,
    queue: &QueueName,
    at_most: Duration,
) -> Result<(), BrokerError> {
    let Some(parts) = shared.divisions.several(queue) else {
        let keys = shared.keys(queue);
        return shared.bells.wait(&keys.bell, at_most).await;
    };
    let keys: Vec<_> = parts.iter().map(|part| shared.keys(&part.name)).collect();
    let waits = keys
        .iter()
        .map(|keys| Box::pin(shared.bells.wait(&keys.bell, at_most)));
    let (ended, _, _) = select_all(waits).await;
    ended
}
