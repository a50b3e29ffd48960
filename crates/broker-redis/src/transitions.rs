//! One module a script, of the same name: arguments out, typed answer in.

mod agenda;
mod amend;
mod books;
mod bound;
mod callbacks;
mod called_back;
mod cancel;
mod census;
mod claim;
mod counts;
mod dead_letter;
mod dead_letters;
mod dead_letters_summary;
mod enqueue;
mod enqueue_plain;
mod enqueue_unique;
mod firings;
mod forward;
mod forwarded;
mod holdings;
mod lasting;
mod lead;
mod leader;
mod locks;
mod look;
mod losses;
mod orphans;
mod outbox;
mod outboxes;
mod outcome;
mod partition;
mod partitions;
mod permissions;
mod purge;
mod purge_older;
mod ranks;
mod recover;
mod redivide;
mod register;
mod renew;
mod repair;
mod report;
mod reschedule;
mod resign;
mod retain;
mod retire;
mod revive;
mod revive_edited;
mod ring;
mod schedule;
mod scheduled;
mod schedules;
mod settle;
mod state;
mod task_ids;
mod workers;
mod wrong_types;

pub(crate) use agenda::agenda;
pub(crate) use amend::amend;
pub(crate) use books::books;
pub(crate) use bound::bound;
pub(crate) use callbacks::callbacks;
pub(crate) use called_back::called_back;
pub(crate) use cancel::cancel;
pub(crate) use census::census;
pub(crate) use claim::claim;
pub(crate) use counts::counts;
pub(crate) use dead_letter::dead_letter;
pub(crate) use dead_letters::dead_letters;
pub(crate) use dead_letters_summary::dead_letters_summary;
pub(crate) use enqueue::enqueue;
pub(crate) use firings::firings;
pub(crate) use forward::forward;
pub(crate) use forwarded::forwarded;
pub(crate) use holdings::holdings;
pub(crate) use lasting::lasting;
pub(crate) use lead::lead;
pub(crate) use leader::leader;
pub(crate) use locks::locks;
pub(crate) use look::{Looked, look};
pub(crate) use losses::losses;
pub(crate) use orphans::orphans;
pub(crate) use outbox::outbox;
pub(crate) use outboxes::outboxes;
pub(crate) use outcome::{Asked, outcome};
pub(crate) use partition::partition;
pub(crate) use partitions::partitions;
pub(crate) use permissions::permissions;
pub(crate) use purge::purge;
pub(crate) use purge_older::purge_older;
pub(crate) use ranks::ranks;
pub(crate) use recover::recover;
pub(crate) use redivide::redivide;
pub(crate) use register::register;
pub(crate) use renew::renew;
pub(crate) use repair::repair;
pub(crate) use report::report;
pub(crate) use reschedule::reschedule;
pub(crate) use resign::resign;
pub(crate) use retain::retain;
pub(crate) use retire::retire;
pub(crate) use revive::revive;
pub(crate) use revive_edited::revive_edited;
pub(crate) use ring::ring;
pub(crate) use schedule::schedule;
pub(crate) use scheduled::scheduled;
pub(crate) use schedules::schedules;
pub(crate) use settle::settle;
pub(crate) use state::state;
pub(crate) use task_ids::task_ids;
pub(crate) use workers::workers;
pub(crate) use wrong_types::wrong_types;

use lovage_core::{Cut, Fence, Millis, TaskId};
use redis::Value;

use crate::divisions::Division;
use crate::reply::{bytes, list, number, text, word};

/// What a partition answers to who may not know that it is one.
pub(crate) enum Answer<T> {
    /// It is where the caller thinks.
    Here(T),
    /// The queue is divided in another way than the caller went by: nothing happened.
    Moved(Division),
}

/// The division that `reply` tells of, if it says that the caller went by another.
fn moved(reply: &Value) -> Option<Division> {
    match reply {
        Value::Array(items) if word(reply) == b"moved" => Division::parse(text(items.get(1)?)),
        _ => None,
    }
}

/// A fence as a processing list holds it.
fn mark(fence: Fence) -> String {
    format!("{}:{}", fence.number, fence.claimed_at.get())
}

fn fence(mark: &[u8]) -> Option<Fence> {
    let (number, instant) = std::str::from_utf8(mark).ok()?.split_once(':')?;
    Some(Fence {
        number: number.parse().ok()?,
        claimed_at: Millis::new(instant.parse().ok()?),
    })
}

/// What `cut_dead` of `lib/dead.lua` answers.
fn read_cut(reply: Value) -> Option<Cut> {
    let mut parts = list(reply)?.into_iter();
    let mut count = || number(&parts.next()?);
    let (by_age, by_count, by_bytes) = (count()?, count()?, count()?);
    let oldest = bytes(parts.next()?)?;
    Some(Cut {
        by_count,
        by_age,
        by_bytes,
        oldest: oldest
            .chunks_exact(16)
            .filter_map(|id| TaskId::try_from(id).ok())
            .collect(),
    })
}
