//! Sets the bound of a queue or of a partition: one command, no script.

use lovage_core::BrokerError;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::keys::{BOUND_FIELD, WHOLE_BOUND_FIELD};

pub(crate) async fn bound(
    shared: &Shared,
    part: &Part,
    tasks_max: Option<u64>,
) -> Result<(), BrokerError> {
    let keys = shared.keys(&part.name);
    let command = if let Some(bound) = tasks_max {
        let mut set = redis::cmd("HSET");
        set.arg(&keys.meta).arg(BOUND_FIELD).arg(bound);
        if part.number == Some(0) {
            set.arg(WHOLE_BOUND_FIELD).arg("");
        }
        set
    } else {
        let mut remove = redis::cmd("HDEL");
        remove
            .arg(&keys.meta)
            .arg(BOUND_FIELD)
            .arg(WHOLE_BOUND_FIELD);
        remove
    };
    shared.connection.command(&command).await.map(drop)
}
