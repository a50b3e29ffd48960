//! Looks at the whole of a queue: sums, and pages in one order.

use lovage_core::{
    BATCH_MAX, BrokerError, Counts, DeadLetter, LOSSES_KEPT_MAX, Loss, Millis, QueueName,
    Scheduled, TaskId,
};

use super::{each, told};
use crate::broker::Shared;
use crate::divisions::Part;
use crate::keys::Keys;
use crate::transitions;

/// So many tasks ahead of a page are read, more are skipped by halves.
const READ_AHEAD: usize = 1000;

pub(crate) async fn counts(shared: &Shared, queue: &QueueName) -> Result<Counts, BrokerError> {
    let (first, parts) = tokio::join!(transitions::counts(shared, queue), shared.parts_now(queue));
    let (mut total, parts) = (first?, parts?);
    let counts = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::counts(shared, &name).await }
    };
    for counts in told(each(&parts[1..], counts).await)? {
        total.ready += counts.ready;
        total.scheduled += counts.scheduled;
        total.active += counts.active;
        total.dead += counts.dead;
    }
    Ok(total)
}

pub(crate) async fn scheduled(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<Scheduled>, BrokerError> {
    let page = Page {
        shared,
        key: |keys| &keys.scheduled,
        offset,
        limit,
    };
    let read = |name, offset, limit| async move {
        transitions::scheduled(shared, &name, offset, limit).await
    };
    page.read(queue, read).await
}

pub(crate) async fn dead_letters(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<DeadLetter>, BrokerError> {
    let page = Page {
        shared,
        key: |keys| &keys.dead,
        offset,
        limit,
    };
    let read = |name, offset, limit| async move {
        transitions::dead_letters(shared, &name, offset, limit).await
    };
    page.read(queue, read).await
}

/// The newest of all partitions, which keep as many as are asked for each.
pub(crate) async fn losses(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<Loss>, BrokerError> {
    let parts = shared.parts_now(queue).await?;
    if parts.len() == 1 {
        return transitions::losses(shared, queue, offset, limit).await;
    }
    let end = offset.saturating_add(limit).min(LOSSES_KEPT_MAX);
    let look = |part: &Part| {
        let name = part.name.clone();
        async move { transitions::losses(shared, &name, 0, end).await }
    };
    let mut all = told(each(&parts, look).await)?.concat();
    all.sort_by_key(|loss| std::cmp::Reverse(loss.lost_at));
    all.truncate(end);
    Ok(all.split_off(offset.min(all.len())))
}

/// What is listed by an instant, and by its id where several share one.
trait Listed {
    fn rank(&self) -> Rank;
}

type Rank = (Millis, TaskId);

impl Listed for Scheduled {
    fn rank(&self) -> Rank {
        (self.due, self.id)
    }
}

impl Listed for DeadLetter {
    fn rank(&self) -> Rank {
        (self.died_at, self.id)
    }
}

/// A page of a list that each partition has a part of.
#[derive(Clone, Copy)]
struct Page<'a> {
    shared: &'a Shared,
    /// The sorted set of the list.
    key: fn(&Keys) -> &String,
    offset: usize,
    limit: usize,
}

impl Page<'_> {
    /// `read` reads a page of one partition.
    async fn read<T, F>(
        self,
        queue: &QueueName,
        read: impl Fn(QueueName, usize, usize) -> F,
    ) -> Result<Vec<T>, BrokerError>
    where
        T: Listed,
        F: Future<Output = Result<Vec<T>, BrokerError>>,
    {
        let parts = if let Some(parts) = self.shared.divisions.several(queue) {
            parts
        } else {
            let (page, parts) = tokio::join!(
                read(queue.clone(), self.offset, self.limit),
                self.shared.parts_now(queue)
            );
            let parts = parts?;
            if parts.len() == 1 {
                return page;
            }
            parts
        };
        let limit = self.limit.min(BATCH_MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Some((first, ahead)) = self.skip(&parts).await? else {
            return Ok(Vec::new());
        };
        let shares = self.shares(&parts, &first, ahead, limit).await?;
        let reads = shares.iter().map(|share| {
            let name = parts[share.part].name.clone();
            read(name, share.first, share.ranks.len())
        });
        let pages = told(futures_util::future::join_all(reads).await)?;
        Ok(merge(&shares, pages))
    }

    /// Where in each partition to begin, and how many of those from there on come before the page. `None` if all do.
    async fn skip(self, parts: &[Part]) -> Result<Option<(Vec<usize>, usize)>, BrokerError> {
        let (mut first, mut ahead) = (vec![0; parts.len()], self.offset);
        while READ_AHEAD < ahead {
            // No more than `step` of any partition come before the least of these, so its own `step` are among those
            // that are ahead.
            let step = ahead / parts.len();
            let looks = parts.iter().zip(&first).map(|(part, first)| {
                let at = first + step - 1;
                self.ranks(part, at, at)
            });
            let looks = told(futures_util::future::join_all(looks).await)?;
            let found = looks.iter().enumerate();
            let found = found.filter_map(|(part, ranks)| Some((*ranks.first()?, part)));
            let Some((_, least)) = found.min() else {
                return Ok(None);
            };
            first[least] += step;
            ahead -= step;
        }
        Ok(Some((first, ahead)))
    }

    /// Which tasks of each partition make up the page.
    async fn shares(
        self,
        parts: &[Part],
        first: &[usize],
        ahead: usize,
        limit: usize,
    ) -> Result<Vec<Share>, BrokerError> {
        let heads = parts.iter().zip(first);
        let heads = heads.map(|(part, first)| self.ranks(part, *first, first + ahead + limit - 1));
        let heads = told(futures_util::future::join_all(heads).await)?;
        let mut all: Vec<(Rank, usize)> = heads
            .into_iter()
            .enumerate()
            .flat_map(|(part, ranks)| ranks.into_iter().map(move |rank| (rank, part)))
            .collect();
        all.sort_unstable();
        let mut shares: Vec<Share> = first
            .iter()
            .enumerate()
            .map(|(part, first)| Share {
                part,
                first: *first,
                ranks: Vec::new(),
            })
            .collect();
        for (place, (rank, part)) in all.into_iter().take(ahead + limit).enumerate() {
            if place < ahead {
                shares[part].first += 1;
            } else {
                shares[part].ranks.push(rank);
            }
        }
        shares.retain(|share| !share.ranks.is_empty());
        Ok(shares)
    }

    async fn ranks(self, part: &Part, from: usize, to: usize) -> Result<Vec<Rank>, BrokerError> {
        let keys = self.shared.keys(&part.name);
        transitions::ranks(self.shared, (self.key)(&keys), from, to).await
    }
}

/// What a partition has of a page.
struct Share {
    part: usize,
    first: usize,
    ranks: Vec<Rank>,
}

/// One page, up to the first that a partition has left out since its envelopes are large.
fn merge<T: Listed>(shares: &[Share], pages: Vec<Vec<T>>) -> Vec<T> {
    let left_out = shares.iter().zip(&pages);
    let left_out = left_out.filter(|(_, page)| !page.is_empty());
    let end = left_out
        .filter_map(|(share, page)| share.ranks.get(page.len()).copied())
        .min();
    let mut all: Vec<T> = pages.into_iter().flatten().collect();
    all.retain(|listed| end.is_none_or(|end| listed.rank() < end));
    all.sort_by_key(Listed::rank);
    all
}
