//! Reads how a queue is divided: one field, no script.

use lovage_core::{BrokerError, QueueName};

use crate::broker::Shared;
use crate::divisions::Division;
use crate::error::unexpected;
use crate::keys::PARTITIONS_FIELD;
use crate::reply::text;

pub(crate) async fn partitions(
    shared: &Shared,
    queue: &QueueName,
) -> Result<Division, BrokerError> {
    let keys = shared.keys(queue);
    let mut get = redis::cmd("HGET");
    get.arg(&keys.meta).arg(PARTITIONS_FIELD);
    let reply = shared.connection.command(&get).await?;
    Division::parse(text(&reply)).ok_or_else(|| unexpected("HGET"))
}
