//! `enqueue_unique.lua`: tasks of which some hold a key, or are remembered.

use std::collections::HashMap;
use std::sync::LazyLock;

use lovage_core::{
    Confirmed, Conflict, Durability, Encoded, EnqueueError, Enqueued, Lock, QueueName, Remembered,
    TaskId, TransportError, span_ms,
};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::{of_send, unexpected};
use crate::keys::{Keys, hex};
use crate::reply::{count, id, list, number, word};
use crate::script::{Script, WhenFull};
use crate::transitions::enqueue::{self, Sent};
use crate::transitions::{Answer, moved};

/// The helpers of the script, and `enqueue.lua` as the function by which it stores what is new.
macro_rules! storing {
    ($($behind:expr),*) => {
        concat!(
            include_str!("../../scripts/lib/now.lua"),
            include_str!("../../scripts/lib/chunks.lua"),
            include_str!("../../scripts/lib/envelope.lua"),
            include_str!("../../scripts/lib/places.lua"),
            include_str!("../../scripts/lib/outcome.lua"),
            include_str!("../../scripts/lib/locks.lua"),
            "local function store(ARGV)\n",
            include_str!("../../scripts/enqueue.lua"),
            "end\n",
            $($behind),*
        )
    };
}
pub(super) use storing;

static ENQUEUE_UNIQUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        WhenFull::Refuse,
        storing!(include_str!("../../scripts/enqueue_unique.lua")),
    )
});

pub(super) async fn enqueue_unique(
    shared: &Shared,
    part: &Part,
    tasks: &[Encoded],
    wanted: Durability,
) -> Result<Answer<Confirmed>, EnqueueError> {
    let Sent {
        mut answers,
        firsts,
        levels_used,
    } = Sent::of(tasks);
    let keys = shared.keys(&part.name);
    let (levels, ready) = keys.levels(levels_used);
    let names = names(&keys, &ready);
    let now = shared.now();
    let (reply, by) = shared
        .run_confirmed(wanted, &keys, &ENQUEUE_UNIQUE, |call| {
            call.keys(&names).arg(&now).arg(&levels).arg(&part.division);
            for &position in &firsts {
                let task = &tasks[position];
                let remembered = task.remembered().map(|Remembered { send, span }| {
                    format!("{}:{}", hex(send.as_bytes()), span_ms(span))
                });
                call.arg(task.id().as_bytes())
                    .arg(&**task.bytes())
                    .arg(task.unique().map(lock_text).unwrap_or_default())
                    .arg(remembered.unwrap_or_default());
            }
        })
        .await
        .map_err(of_send)?;
    if let Some(division) = moved(&reply) {
        return Ok(Answer::Moved(division));
    }
    let mut first = HashMap::new();
    for (index, answer) in read(reply, &part.name)? {
        if let Some(&position) = firsts.get(index) {
            answers[position] = answer;
            first.insert(tasks[position].id(), answer);
        }
    }
    // Those that stand in the call a second time.
    for (answer, task) in answers.iter_mut().zip(tasks) {
        if *answer == Enqueued::Duplicate
            && let Some(first) = first.get(&task.id())
        {
            *answer = first.again();
        }
    }
    Ok(Answer::Here(Confirmed { answers, by }))
}

/// The keys of the script, for the ready lists of these levels.
pub(super) fn names<'a>(keys: &'a Keys, ready: &[&'a str]) -> Vec<&'a str> {
    let mut names = enqueue::names(keys, ready);
    names.extend([
        keys.dead.as_str(),
        &keys.reasons,
        &keys.locks,
        &keys.uniques,
        &keys.onces,
        &keys.ghosts,
        &keys.facts,
        &keys.actives,
    ]);
    names
}

/// A lock as the script reads it.
pub(super) fn lock_text(lock: &Lock) -> String {
    let ms = |span: Option<_>| span.map_or_else(String::new, |span| span_ms(span).to_string());
    let (mode, span) = lock.mode();
    let conflict = match lock.conflict {
        Conflict::Reject => "reject",
        Conflict::Replace | Conflict::Debounce { .. } => "replace",
    };
    let key = hex(lock.key.as_bytes());
    format!(
        "{mode}{key}:{}:{conflict}:{}",
        ms(span),
        ms(lock.wait_max())
    )
}

/// What is not new, by its position in the call.
fn read(reply: Value, queue: &QueueName) -> Result<Vec<(usize, Enqueued)>, EnqueueError> {
    let answer = word(&reply).to_vec();
    let items = list(reply).unwrap_or_default();
    match (answer.as_slice(), items.as_slice()) {
        (
            b"stored",
            [
                _,
                Value::Array(positions),
                Value::Array(kinds),
                Value::Array(known),
            ],
        ) => positions
            .iter()
            .zip(kinds)
            .zip(known)
            .map(|((position, kind), known)| Some((count(position)?, answered(kind, id(known)?)?)))
            .collect::<Option<_>>()
            .ok_or_else(|| unexpected("enqueue_unique").into()),
        (b"full", [_, len, bound]) => Err(EnqueueError::QueueFull {
            queue: queue.clone(),
            len: number(len).unwrap_or_default(),
            bound: number(bound).unwrap_or_default(),
        }),
        (b"malformed", [_, position]) => Err(EnqueueError::Refused(TransportError::new(format!(
            "task number {} of the call is shorter than the fixed part of an envelope",
            count(position).unwrap_or_default()
        )))),
        _ => Err(unexpected("enqueue_unique").into()),
    }
}

fn answered(kind: &Value, known: TaskId) -> Option<Enqueued> {
    match word(kind) {
        b"duplicate" => Some(Enqueued::Duplicate),
        b"existing" => Some(Enqueued::Existing(known)),
        b"replaced" => Some(Enqueued::Replaced(known)),
        _ => None,
    }
}
