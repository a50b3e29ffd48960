//! Sets the bound of a queue: one field, no script.

use lovage_core::{BrokerError, QueueName};

use crate::broker::Shared;
use crate::keys::BOUND_FIELD;

pub(crate) async fn bound(
    shared: &Shared,
    queue: &QueueName,
    tasks_max: Option<u64>,
) -> Result<(), BrokerError> {
    let keys = shared.keys(queue);
    let command = if let Some(bound) = tasks_max {
        let mut set = redis::cmd("HSET");
        set.arg(&keys.meta).arg(BOUND_FIELD).arg(bound);
        set
    } else {
        let mut remove = redis::cmd("HDEL");
        remove.arg(&keys.meta).arg(BOUND_FIELD);
        remove
    };
    shared.connection.command(&command).await.map(drop)
}
