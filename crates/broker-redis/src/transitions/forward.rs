//! `forward.lua`.

use std::sync::LazyLock;

use lovage_core::envelope::edit;
use lovage_core::{BATCH_MAX, EnqueueError, Forwarded, Outgoing, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::{of_send, unexpected};
use crate::reply::{count, list, number, word};
use crate::script::{Script, WhenFull};
use crate::transitions::enqueue_unique::{lock_text, storing};
use crate::transitions::{Answer, enqueue, enqueue_unique, moved};

/// `enqueue.lua` is a function here, as it is: what is forwarded is stored as what is sent.
static FORWARD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        WhenFull::Refuse,
        concat!(
            include_str!("../../scripts/lib/now.lua"),
            include_str!("../../scripts/lib/chunks.lua"),
            include_str!("../../scripts/lib/envelope.lua"),
            include_str!("../../scripts/lib/places.lua"),
            include_str!("../../scripts/lib/dead_bytes.lua"),
            "local UNIQUE = false\n",
            "local function enqueue(ARGV)\n",
            include_str!("../../scripts/enqueue.lua"),
            "end\n",
            include_str!("../../scripts/forward.lua"),
        ),
    )
});

/// `enqueue_unique.lua` is the function there.
static FORWARD_UNIQUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        WhenFull::Refuse,
        storing!(
            include_str!("../../scripts/lib/dead_bytes.lua"),
            "local UNIQUE = true\n",
            "local function enqueue(ARGV)\n",
            include_str!("../../scripts/enqueue_unique.lua"),
            "end\n",
            include_str!("../../scripts/forward.lua")
        ),
    )
});

pub(crate) async fn forward(
    shared: &Shared,
    part: &Part,
    outgoing: Vec<Outgoing>,
) -> Result<Answer<Forwarded>, EnqueueError> {
    if BATCH_MAX < outgoing.len() {
        return Err(EnqueueError::BatchTooLarge {
            count: outgoing.len(),
        });
    }
    if outgoing.is_empty() {
        return Ok(Answer::Here(Forwarded::default()));
    }
    let keys = shared.keys(&part.name);
    let mut levels_used = [false; 10];
    for task in &outgoing {
        levels_used[usize::from(edit::priority(&task.bytes).get())] = true;
    }
    let (levels, ready) = keys.levels(levels_used);
    let locks: Vec<Option<String>> = outgoing
        .iter()
        .map(|task| edit::unique(&task.bytes).as_ref().map(lock_text))
        .collect();
    let is_unique = locks.iter().any(Option::is_some);
    let (script, names) = if is_unique {
        (&FORWARD_UNIQUE, enqueue_unique::names(&keys, &ready))
    } else {
        let mut names = enqueue::names(&keys, &ready);
        names.extend([keys.dead.as_str(), keys.reasons.as_str()]);
        (&FORWARD, names)
    };
    let now = shared.now();
    let reply = shared
        .connection
        .run(script, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(&levels)
                .arg(&part.division)
                .arg(part.seen);
            for (task, lock) in outgoing.iter().zip(&locks) {
                call.arg(task.number)
                    .arg(task.id.as_bytes())
                    .arg(&*task.bytes)
                    .arg(lock.as_deref().unwrap_or_default());
            }
        })
        .await
        .map_err(of_send)?;
    match moved(&reply) {
        Some(division) => Ok(Answer::Moved(division)),
        None => read(reply, &part.name).map(Answer::Here),
    }
}

fn read(reply: Value, queue: &QueueName) -> Result<Forwarded, EnqueueError> {
    let answer = word(&reply).to_vec();
    match (answer.as_slice(), list(reply).as_deref()) {
        (b"stored", Some([_, stored, known])) => Ok(Forwarded {
            stored: count(stored).unwrap_or_default(),
            known: count(known).unwrap_or_default(),
        }),
        (b"full", Some([_, len, bound])) => Err(EnqueueError::QueueFull {
            queue: queue.clone(),
            len: number(len).unwrap_or_default(),
            bound: number(bound).unwrap_or_default(),
        }),
        _ => Err(unexpected("forward").into()),
    }
}
