//! Reads the ledger of losses: one command, no script.

use lovage_core::{BATCH_MAX, BrokerError, Loss, QueueName};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, list};

pub(crate) async fn losses(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<Loss>, BrokerError> {
    let limit = limit.min(BATCH_MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let keys = shared.keys(queue);
    let mut range = redis::cmd("LRANGE");
    range.arg(&keys.losses);
    range.arg(offset).arg(offset.saturating_add(limit - 1));
    let reply = shared.connection.command(&range).await?;
    let records = list(reply).ok_or_else(|| unexpected("LRANGE"))?;
    let records = records.into_iter().filter_map(bytes);
    Ok(records.filter_map(|record| Loss::decode(&record)).collect())
}
