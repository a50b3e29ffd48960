//! `orphans.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, Hand, QueueName, WorkerId};

use super::books::{hand_word, texts};
use crate::broker::Shared;
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::list;
use crate::script::{ByHand, by_hand};

static ORPHANS: LazyLock<ByHand> = by_hand!("orphans", ["places"]);

pub(crate) async fn orphans(
    shared: &Shared,
    queue: &QueueName,
    workers: &[WorkerId],
    hand: Hand,
) -> Result<Vec<WorkerId>, BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(ORPHANS.by(hand), |call| {
            call.keys(&[&keys.identities, &keys.meta, &keys.actives])
                .arg(hand_word(hand))
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
