//! `enqueue.lua`.

use std::collections::HashSet;
use std::sync::LazyLock;

use lovage_core::envelope::edit;
use lovage_core::{
    BATCH_MAX, Confirmation, Confirmed, Durability, Encoded, EnqueueError, Enqueued, QueueName,
    TransportError,
};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::{of_send, unexpected};
use crate::keys::Keys;
use crate::reply::{count, list, number, word};
use crate::script::{Script, script};
use crate::transitions::enqueue_plain::enqueue_plain;
use crate::transitions::enqueue_unique::enqueue_unique;
use crate::transitions::{Answer, moved};

static ENQUEUE: LazyLock<Script> =
    script!("enqueue", Refuse, ["now", "chunks", "envelope", "places"]);

pub(crate) async fn enqueue(
    shared: &Shared,
    part: &Part,
    tasks: &[Encoded],
    wanted: Durability,
) -> Result<Answer<Confirmed>, EnqueueError> {
    if BATCH_MAX < tasks.len() {
        return Err(EnqueueError::BatchTooLarge { count: tasks.len() });
    }
    if tasks
        .iter()
        .any(|task| task.unique().is_some() || task.remembered().is_some())
    {
        return enqueue_unique(shared, part, tasks, wanted).await;
    }
    if let [task] = tasks
        && edit::is_plain(task.bytes())
    {
        return enqueue_plain(shared, part, task, wanted).await;
    }
    let Sent {
        mut answers,
        firsts,
        levels_used,
    } = Sent::of(tasks);
    if firsts.is_empty() {
        return Ok(Answer::Here(Confirmed {
            answers,
            by: Confirmation::default(),
        }));
    }

    let keys = shared.keys(&part.name);
    let (levels, ready) = keys.levels(levels_used);
    let names = names(&keys, &ready);
    let now = shared.now();
    let (reply, by) = shared
        .run_confirmed(wanted, &keys, &ENQUEUE, |call| {
            call.keys(&names).arg(&now).arg(&levels).arg(&part.division);
            for &position in &firsts {
                let task = &tasks[position];
                call.arg(task.id().as_bytes()).arg(&**task.bytes());
            }
        })
        .await
        .map_err(of_send)?;
    if let Some(division) = moved(&reply) {
        return Ok(Answer::Moved(division));
    }
    let marked = read(reply, &part.name)?;
    for index in marked {
        if let Some(&position) = firsts.get(index) {
            answers[position] = Enqueued::Duplicate;
        }
    }
    Ok(Answer::Here(Confirmed { answers, by }))
}

/// What goes of a call: an id that stands in it twice goes once.
pub(super) struct Sent {
    /// New, but for the later ones of one id.
    pub(super) answers: Vec<Enqueued>,
    /// Where each task that goes stands in the call.
    pub(super) firsts: Vec<usize>,
    pub(super) levels_used: [bool; 10],
}

impl Sent {
    pub(super) fn of(tasks: &[Encoded]) -> Self {
        let mut answers = vec![Enqueued::New; tasks.len()];
        let mut seen = HashSet::with_capacity(tasks.len());
        let mut firsts = Vec::with_capacity(tasks.len());
        let mut levels_used = [false; 10];
        for (position, task) in tasks.iter().enumerate() {
            if seen.insert(task.id()) {
                firsts.push(position);
                levels_used[usize::from(edit::priority(task.bytes()).get())] = true;
            } else {
                answers[position] = Enqueued::Duplicate;
            }
        }
        Self {
            answers,
            firsts,
            levels_used,
        }
    }
}

/// The keys of the script, for the ready lists of these levels.
pub(super) fn names<'a>(keys: &'a Keys, ready: &[&'a str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = vec![&keys.meta, &keys.tasks, &keys.scheduled, &keys.bell];
    names.extend(ready);
    names
}

/// The positions of the duplicates.
pub(super) fn read(reply: Value, queue: &QueueName) -> Result<Vec<usize>, EnqueueError> {
    let answer = word(&reply).to_vec();
    let items = list(reply).unwrap_or_default();
    match (answer.as_slice(), items.as_slice()) {
        (b"stored", [_, Value::Array(duplicates)]) => {
            Ok(duplicates.iter().filter_map(count).collect())
        }
        (b"full", [_, len, bound]) => Err(EnqueueError::QueueFull {
            queue: queue.clone(),
            len: number(len).unwrap_or_default(),
            bound: number(bound).unwrap_or_default(),
        }),
        (b"malformed", [_, position]) => Err(EnqueueError::Refused(TransportError::new(format!(
            "task number {} of the call is shorter than the fixed part of an envelope",
            count(position).unwrap_or_default()
        )))),
        _ => Err(unexpected("enqueue").into()),
    }
}
