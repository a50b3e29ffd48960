//! Reads a processing list, a part at a time.

use std::collections::HashMap;

use lovage_core::{BrokerError, Fence, QueueName, TaskId, WorkerId};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{id, list, number};
use crate::transitions::fence;

pub(crate) async fn holdings(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
    let active = shared.keys(queue).active(worker);
    // HSCAN may show an entry twice.
    let mut held = HashMap::new();
    let mut cursor = 0;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&active).arg(cursor).arg("COUNT").arg(1000);
        let reply = shared.connection.command(&scan).await?;
        let items = list(reply).unwrap_or_default();
        let [next, Value::Array(entries)] = items.as_slice() else {
            return Err(unexpected("HSCAN"));
        };
        for entry in entries.chunks_exact(2) {
            // Rubbish that somebody wrote there by hand is nobody's task.
            if let (Some(id), Value::BulkString(mark)) = (id(&entry[0]), &entry[1])
                && let Some(fence) = fence(mark)
            {
                held.insert(id, fence);
            }
        }
        cursor = number(next).ok_or_else(|| unexpected("HSCAN"))?;
        if cursor == 0 {
            return Ok(held.into_iter().collect());
        }
    }
}
