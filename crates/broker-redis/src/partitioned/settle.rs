//! Settlements: each to the partition that its task is in.

use std::collections::HashSet;

use futures_util::future::join_all;
use lovage_core::{
    BATCH_MAX, BrokerError, QueueName, Settled, Settlement, TaskId, TransportError, WorkerId,
};

use super::{add, changed, in_part};
use crate::broker::Shared;
use crate::divisions::{Part, part_of};
use crate::transitions;

pub(crate) async fn settle(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    settlements: Vec<Settlement>,
) -> Result<Settled, BrokerError> {
    if let Some(parts) = shared.divisions.several(queue) {
        return in_parts(shared, &parts, worker, settlements).await;
    }
    let settled = transitions::settle(shared, queue, worker, settlements).await?;
    if settled.stale.is_empty() {
        return Ok(settled);
    }
    // Perhaps a handle that had never heard that the queue is divided: what is stale here may be held elsewhere.
    if shared.parts_now(queue).await?.len() == 1 {
        return Ok(settled);
    }
    Err(BrokerError::Unknown(TransportError::new(format!(
        "queue {queue} is divided, as was not known here: settle again"
    ))))
}

async fn in_parts(
    shared: &Shared,
    parts: &[Part],
    worker: WorkerId,
    settlements: Vec<Settlement>,
) -> Result<Settled, BrokerError> {
    if BATCH_MAX < settlements.len() {
        return Err(BrokerError::Refused(TransportError::new(format!(
            "{} settlements in one call, the limit is {BATCH_MAX}",
            settlements.len()
        ))));
    }
    let mut by_part: Vec<Vec<Settlement>> = Vec::new();
    by_part.resize_with(parts.len(), Vec::new);
    for settlement in settlements {
        by_part[part_of(parts, settlement.id)].push(settlement);
    }
    let calls = parts
        .iter()
        .zip(&by_part)
        .filter(|(_, own)| !own.is_empty());
    let calls =
        calls.map(|(part, own)| transitions::settle(shared, &part.name, worker, own.clone()));
    let mut total = Settled::default();
    for settled in changed(join_all(calls).await)? {
        total.stale.extend(settled.stale);
        add(&mut total.cut, settled.cut);
    }
    let stale: HashSet<TaskId> = total.stale.iter().copied().collect();
    let elsewhere = by_part.into_iter().skip(1).flatten();
    let elsewhere: Vec<_> = elsewhere.filter(|one| stale.contains(&one.id)).collect();
    if elsewhere.is_empty() {
        return Ok(total);
    }
    // They were sent while the queue had lost its division, or somebody else has them now.
    let ids: HashSet<TaskId> = elsewhere.iter().map(|one| one.id).collect();
    let settled = transitions::settle(shared, &parts[0].name, worker, elsewhere);
    let settled = settled.await.map_err(in_part)?;
    let stale: HashSet<TaskId> = settled.stale.into_iter().collect();
    total
        .stale
        .retain(|id| !ids.contains(id) || stale.contains(id));
    add(&mut total.cut, settled.cut);
    Ok(total)
}
