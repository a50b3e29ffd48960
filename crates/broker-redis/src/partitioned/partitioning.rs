//! The trait [`Partitioning`], and the bound, of which each partition has a share.

use lovage_core::{BrokerError, Partitioned, Partitioning, Partitions, QueueName, Retention};

use super::{changed, each};
use crate::broker::{RedisBroker, Shared};
use crate::divisions::Part;
use crate::transitions;

impl Partitioning for RedisBroker {
    /// # Redis
    /// One script in the slot of the first partition, which alone says how many there are; then each partition gets its
    /// share of the bound, if there is one. Where that fails, the next call with the same number does it.
    async fn partition(
        &self,
        queue: &QueueName,
        partitions: Partitions,
    ) -> Result<Partitioned, BrokerError> {
        let shared = &self.shared;
        let (answer, division, bounded) = transitions::partition(shared, queue, partitions).await?;
        if let Some(division) = division {
            let parts = shared.divisions.learn(queue, division);
            if bounded.is_some() {
                share_bound(shared, &parts, bounded).await?;
            }
        }
        Ok(answer)
    }

    async fn partitions(&self, queue: &QueueName) -> Result<Partitions, BrokerError> {
        let parts = self.shared.parts_now(queue).await?;
        Ok(Partitions::new(parts.len() as u64).unwrap_or_default())
    }
}

/// As the bound, each has an equal share of what is limited as a whole.
pub(crate) async fn retain(
    shared: &Shared,
    queue: &QueueName,
    retention: Retention,
) -> Result<(), BrokerError> {
    let parts = shared.parts_now(queue).await?;
    let share = |limit: Option<u64>| limit.map(|limit| limit.div_ceil(parts.len() as u64));
    let share = Retention {
        count: share(retention.count),
        age: retention.age,
        bytes: share(retention.bytes),
    };
    let retain = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::retain(shared, &name, share).await }
    };
    changed(each(&parts, retain).await).map(drop)
}

pub(crate) async fn bound(
    shared: &Shared,
    queue: &QueueName,
    tasks_max: Option<u64>,
) -> Result<(), BrokerError> {
    let parts = shared.parts_now(queue).await?;
    share_bound(shared, &parts, tasks_max).await
}

/// Rounded up, so that no partition refuses all of its tasks for ever because the bound is less than there are
/// partitions.
pub(crate) async fn share_bound(
    shared: &Shared,
    parts: &[Part],
    tasks_max: Option<u64>,
) -> Result<(), BrokerError> {
    let share = tasks_max.map(|bound| bound.div_ceil(parts.len() as u64));
    let bound = |part| transitions::bound(shared, part, share);
    // The first last: it says that it is done.
    let (first, others) = parts.split_first().expect("a queue has a partition");
    let mut answers = each(others, bound).await;
    if answers.iter().all(Result::is_ok) {
        answers.push(bound(first).await);
    }
    changed(answers).map(drop)
}
