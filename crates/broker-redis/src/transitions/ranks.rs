//! Reads a part of a sorted set of instants: who is there and when, without envelopes.

use lovage_core::{BrokerError, Millis, TaskId};

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{id, instant, list};

/// More than any set holds, and a rank that Redis reads.
const RANK_MAX: usize = u32::MAX as usize;

pub(crate) async fn ranks(
    shared: &Shared,
    key: &str,
    from: usize,
    to: usize,
) -> Result<Vec<(Millis, TaskId)>, BrokerError> {
    if RANK_MAX < from {
        return Ok(Vec::new());
    }
    let mut range = redis::cmd("ZRANGE");
    range
        .arg(key)
        .arg(from)
        .arg(to.min(RANK_MAX))
        .arg("WITHSCORES");
    let reply = shared.connection.command(&range).await?;
    let entries = list(reply).ok_or_else(|| unexpected("ZRANGE"))?;
    let ranks = entries.iter().filter_map(|entry| match entry {
        redis::Value::Array(pair) => {
            let [member, score] = pair.as_slice() else {
                return None;
            };
            Some((instant(score)?, id(member)?))
        }
        _ => None,
    });
    Ok(ranks.collect())
}
