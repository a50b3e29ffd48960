//! Reads the history of a schedule: one command, no script.

use bytes::Bytes;
use lovage_core::{BrokerError, FIRINGS_MAX, ScheduleName};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, list};

pub(crate) async fn firings(
    shared: &Shared,
    name: &ScheduleName,
    limit: usize,
) -> Result<Vec<Bytes>, BrokerError> {
    let limit = limit.min(FIRINGS_MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut range = redis::cmd("LRANGE");
    range.arg(shared.beat.history(name)).arg(0).arg(limit - 1);
    let reply = shared.connection.command(&range).await?;
    let firings = list(reply).ok_or_else(|| unexpected("LRANGE"))?;
    Ok(firings.into_iter().filter_map(bytes).collect())
}
