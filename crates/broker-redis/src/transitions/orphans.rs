//! `orphans.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, CheckMode, QueueName, WorkerId};

use super::books::{mode_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::list;
use crate::script::{ByMode, by_mode};

static ORPHANS: LazyLock<ByMode> = by_mode!("orphans", ["places"]);

pub(crate) async fn orphans(
    shared: &Shared,
    queue: &QueueName,
    workers: &[WorkerId],
    mode: CheckMode,
) -> Result<Vec<WorkerId>, BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(ORPHANS.by(mode), |call| {
            call.keys(&[&keys.identities, &keys.meta, &keys.actives])
                .arg(mode_word(mode))
                .arg(LEASE_FIELDS);
            for worker in workers {
                call.arg(worker.to_string());
            }
        })
        .await?;
    let found = list(reply).ok_or_else(|| unexpected("orphans"))?;
    let workers = texts(&found);
    Ok(workers
        .iter()
        .filter_map(|worker| worker.parse().ok())
        .collect())
}
