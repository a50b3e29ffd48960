//! Dead letters, many at a time: each in its partition.

use std::time::Duration;

use futures_util::future::join_all;
use lovage_core::{
    BATCH_MAX, BrokerError, DeadLettersSummary, Purged, QueueName, Revived, TaskId, TransportError,
};

use super::{Lookup, changed, each, in_part, told};
use crate::broker::Shared;
use crate::divisions::{Part, part_of};
use crate::transitions;

pub(crate) async fn revive_many(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<Revived>, BrokerError> {
    of_each(shared, queue, ids, |name, ids| async move {
        transitions::revive(shared, &name, &ids).await
    })
    .await
}

pub(crate) async fn purge(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<bool>, BrokerError> {
    of_each(shared, queue, ids, |name, ids| async move {
        transitions::purge(shared, &name, &ids).await
    })
    .await
}

/// Answers of each id, in their order, what its partition says.
async fn of_each<A, F>(
    shared: &Shared,
    queue: &QueueName,
    ids: &[TaskId],
    ask: impl Fn(QueueName, Vec<TaskId>) -> F,
) -> Result<Vec<A>, BrokerError>
where
    A: Lookup,
    F: Future<Output = Result<Vec<A>, BrokerError>>,
{
    if BATCH_MAX < ids.len() {
        return Err(BrokerError::Refused(TransportError::new(format!(
            "{} ids in one call, the limit is {BATCH_MAX}",
            ids.len()
        ))));
    }
    let parts = shared.parts_now(queue).await?;
    let mut by_part: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
    for (position, id) in ids.iter().enumerate() {
        by_part[part_of(&parts, *id)].push(position);
    }
    by_part.retain(|own| !own.is_empty());
    let calls = by_part.iter().map(|own| {
        let name = parts[part_of(&parts, ids[own[0]])].name.clone();
        ask(name, own.iter().map(|position| ids[*position]).collect())
    });
    let mut answers: Vec<(usize, A)> = Vec::with_capacity(ids.len());
    for (own, said) in by_part.iter().zip(changed(join_all(calls).await)?) {
        answers.extend(own.iter().copied().zip(said));
    }
    // As in `by_id`: what was sent, or has died, while the queue was undivided is in the first partition.
    let elsewhere = |(position, answer): &&mut (usize, A)| {
        answer.is_nothing() && part_of(&parts, ids[*position]) != 0
    };
    let mut absent: Vec<_> = answers.iter_mut().filter(elsewhere).collect();
    if !absent.is_empty() {
        let own = absent.iter().map(|(position, _)| ids[*position]).collect();
        let said = ask(parts[0].name.clone(), own).await.map_err(in_part)?;
        for ((_, answer), said) in absent.iter_mut().zip(said) {
            *answer = said;
        }
    }
    answers.sort_unstable_by_key(|(position, _)| *position);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

pub(crate) async fn purge_older(
    shared: &Shared,
    queue: &QueueName,
    age: Duration,
) -> Result<Purged, BrokerError> {
    let parts = shared.parts_now(queue).await?;
    let purge = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::purge_older(shared, &name, age).await }
    };
    let mut total = Purged::default();
    for purged in changed(each(&parts, purge).await)? {
        total.count += purged.count;
        total.more |= purged.more;
    }
    Ok(total)
}

/// What is kept is told as the partitions keep it together: rounded up, as their shares are.
pub(crate) async fn summary(
    shared: &Shared,
    queue: &QueueName,
) -> Result<DeadLettersSummary, BrokerError> {
    let parts = shared.parts_now(queue).await?;
    let look = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::dead_letters_summary(shared, &name).await }
    };
    let mut total = DeadLettersSummary::default();
    let add = |sum: &mut Option<u64>, limit: Option<u64>| {
        *sum = limit.map(|limit| sum.unwrap_or_default() + limit);
    };
    for summary in told(each(&parts, look).await)? {
        total.now = total.now.max(summary.now);
        total.count += summary.count;
        total.bytes += summary.bytes;
        total.cut += summary.cut;
        add(&mut total.retention.count, summary.retention.count);
        add(&mut total.retention.bytes, summary.retention.bytes);
        total.retention.age = summary.retention.age;
    }
    Ok(total)
}
