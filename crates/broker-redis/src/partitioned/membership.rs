//! Identities: a worker is known to each partition, and has one identity in all of them or none.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::{BrokerError, Fence, QueueName, Recovered, Renewal, TaskId, WorkerId};

use super::{add, changed, each, told};
use crate::broker::Shared;
use crate::divisions::Part;
use crate::transitions;

/// The most cancelled tasks that one renewal names.
const CANCELLED_MAX: usize = 100;

pub(crate) async fn register(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    lease: Duration,
) -> Result<(), BrokerError> {
    // The first partition has the keys of an undivided queue, so that both go at once.
    let (first, parts) = tokio::join!(
        transitions::register(shared, queue, worker, lease),
        shared.parts_now(queue)
    );
    first?;
    let parts = parts?;
    if parts.len() == 1 {
        shared.divisions.registered_whole(worker);
        return Ok(());
    }
    in_others(shared, &parts, worker, lease).await
}

async fn in_others(
    shared: &Shared,
    parts: &[Part],
    worker: WorkerId,
    lease: Duration,
) -> Result<(), BrokerError> {
    let register = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::register(shared, &name, worker, lease).await }
    };
    changed(each(&parts[1..], register).await).map(drop)
}

/// Lost in one partition is lost in all: what it held there is taken back, and a worker cannot tell those tasks from its
/// others. These stay its own until the leases of their partitions end, which nothing renews any more: so no second run
/// begins before.
pub(crate) async fn renew(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    lease: Duration,
) -> Result<Renewal, BrokerError> {
    let parts = shared.parts(queue).await?;
    if parts.len() == 1 {
        return transitions::renew(shared, queue, worker, lease).await;
    }
    if shared.divisions.is_registered_whole(worker) {
        // The queue was divided since. It has never been known to the other partitions, so it cannot be lost there.
        in_others(shared, &parts, worker, lease).await?;
        shared.divisions.forget(worker);
    }
    let renew = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::renew(shared, &name, worker, lease).await }
    };
    let renewed = each(&parts, renew).await;
    if renewed.iter().any(|one| matches!(one, Ok(Renewal::Lost))) {
        return Ok(Renewal::Lost);
    }
    let mut all = Vec::new();
    for renewal in changed(renewed)? {
        if let Renewal::Held { cancelled } = renewal {
            all.extend(cancelled);
        }
    }
    if CANCELLED_MAX < all.len() {
        // At random, as in a single one: the rest comes with later renewals, whichever partition it is in.
        fastrand::shuffle(&mut all);
        all.truncate(CANCELLED_MAX);
    }
    Ok(Renewal::Held { cancelled: all })
}

/// Said in each partition: what is lost there is written down beside it. A partition that the worker is not known to
/// yet, as the queue was divided since, knows it from its next renewal on.
pub(crate) async fn report(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    report: &Bytes,
) -> Result<bool, BrokerError> {
    let parts = shared.parts(queue).await?;
    let say = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::report(shared, &name, worker, report).await }
    };
    let kept = changed(each(&parts, say).await)?;
    Ok(kept.into_iter().all(|kept| kept))
}

pub(crate) async fn retire(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
) -> Result<bool, BrokerError> {
    let parts = shared.parts(queue).await?;
    if parts.len() == 1 {
        shared.divisions.forget(worker);
        return transitions::retire(shared, queue, worker).await;
    }
    // All or none: with one half it could neither claim nor be done with.
    if !holdings(shared, queue, worker).await?.is_empty() {
        return Ok(false);
    }
    let retire = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::retire(shared, &name, worker).await }
    };
    let retired = changed(each(&parts, retire).await)?;
    shared.divisions.forget(worker);
    Ok(retired.into_iter().all(|retired| retired))
}

pub(crate) async fn holdings(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
    let parts = shared.parts(queue).await?;
    let holdings = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::holdings(shared, &name, worker).await }
    };
    Ok(told(each(&parts, holdings).await)?.concat())
}

pub(crate) async fn recover(
    shared: &Shared,
    queue: &QueueName,
    patience: Duration,
) -> Result<Recovered, BrokerError> {
    let parts = shared.parts(queue).await?;
    let recover = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::recover(shared, &name, patience).await }
    };
    let mut total = Recovered::default();
    for recovered in changed(each(&parts, recover).await)? {
        total.released += recovered.released;
        total.buried += recovered.buried;
        total.callbacks |= recovered.callbacks;
        add(&mut total.cut, recovered.cut);
        total.losses.extend(recovered.losses);
        total.more |= recovered.more;
    }
    Ok(total)
}
