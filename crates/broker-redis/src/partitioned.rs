//! Every verb of a queue, over its partitions: who asks sees one queue.
//!
//! The transitions know one partition each. Here a verb finds out which to ask, asks them at once, and makes one answer
//! of theirs. A queue that is not divided is asked as it is, with nothing added.

mod callbacks;
mod claim;
mod dead_letters;
mod enqueue;
mod forward;
mod membership;
mod pages;
mod partitioning;
mod settle;
mod wait;

use lovage_core::{
    BrokerError, CUT_SHOWN_MAX, Cancelled, Cut, DeadLetter, Place, QueueName, Rescheduled, Revived,
    TaskId,
};

pub(crate) use callbacks::{callbacks, called_back};
pub(crate) use claim::claim;
pub(crate) use dead_letters::{purge, purge_older, revive_many, summary};
pub(crate) use enqueue::enqueue;
pub(crate) use forward::forward;
pub(crate) use membership::{holdings, recover, register, renew, report, retire};
pub(crate) use pages::{counts, dead_letters, losses, scheduled};
pub(crate) use partitioning::{bound, retain, share_bound};
pub(crate) use settle::settle;
pub(crate) use wait::wait;

use crate::broker::Shared;
use crate::divisions::{Part, part_of};
use crate::transitions::Asked;

/// How often a verb starts over because it was told another division. A queue is divided once; more is a Redis that
/// has lost its data meanwhile.
const ANEW_MAX: usize = 4;

/// Asks the partition that `id` is in.
///
/// What finds nothing may have looked at the wrong place: before it says so Redis is asked how the queue is divided, and
/// then the first partition, where it is if it was sent, or has ended, while the queue was undivided.
pub(crate) async fn by_id<T, F>(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
    ask: impl Fn(QueueName) -> F,
) -> Result<T, BrokerError>
where
    T: Lookup,
    F: Future<Output = Result<T, BrokerError>>,
{
    let name = match shared.divisions.several(queue) {
        Some(parts) => parts[part_of(&parts, id)].name.clone(),
        None => queue.clone(),
    };
    let found = ask(name.clone()).await?;
    if !found.is_nothing() {
        return Ok(found);
    }
    let parts = shared.parts_now(queue).await?;
    let mut asked = name;
    for there in [part_of(&parts, id), 0].map(|part| &parts[part].name) {
        if *there != asked {
            asked.clone_from(there);
            let found = ask(asked.clone()).await?;
            if !found.is_nothing() {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// An answer that may say that there is no such task.
pub(crate) trait Lookup {
    fn is_nothing(&self) -> bool;
}

impl Lookup for Cancelled {
    fn is_nothing(&self) -> bool {
        *self == Self::Unknown
    }
}

impl Lookup for Place {
    fn is_nothing(&self) -> bool {
        *self == Self::Gone
    }
}

impl Lookup for Revived {
    fn is_nothing(&self) -> bool {
        *self == Self::NotDead
    }
}

impl Lookup for Rescheduled {
    fn is_nothing(&self) -> bool {
        *self == Self::NotScheduled
    }
}

impl Lookup for Option<DeadLetter> {
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

impl Lookup for Asked {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

/// Whether something was done to it.
impl Lookup for bool {
    fn is_nothing(&self) -> bool {
        !self
    }
}

/// The outcome of a task, or a note that this handle waits for it.
pub(crate) async fn outcome(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
    handle: &str,
) -> Result<Asked, BrokerError> {
    let ask = |name| async move { crate::transitions::outcome(shared, &name, id, handle).await };
    by_id(shared, queue, id, ask).await
}

/// Adds what another partition has cut.
fn add(total: &mut Cut, cut: Cut) {
    total.by_count += cut.by_count;
    total.by_age += cut.by_age;
    total.by_bytes += cut.by_bytes;
    total.oldest.extend(cut.oldest);
    total.oldest.truncate(CUT_SHOWN_MAX);
}

/// The answers of all partitions to a question, or why one did not answer.
fn told<T>(answers: Vec<Result<T, BrokerError>>) -> Result<Vec<T>, BrokerError> {
    answers.into_iter().collect()
}

/// The same of a change: where one partition has made it, an error cannot say that nothing happened.
fn changed<T>(answers: Vec<Result<T, BrokerError>>) -> Result<Vec<T>, BrokerError> {
    let some = answers.iter().any(Result::is_ok);
    let all: Result<Vec<T>, BrokerError> = answers.into_iter().collect();
    if some { all.map_err(in_part) } else { all }
}

/// Why the rest of a change was not made.
fn in_part(error: BrokerError) -> BrokerError {
    match error {
        BrokerError::Refused(source) | BrokerError::Misconfigured(source) => {
            BrokerError::Unknown(source)
        }
        error => error,
    }
}

/// `parts` with each what `of` gives, asked at once.
async fn each<'a, T, F>(parts: &'a [Part], ask: impl Fn(&'a Part) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    futures_util::future::join_all(parts.iter().map(ask)).await
}
