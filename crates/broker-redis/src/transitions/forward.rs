//! `forward.lua`.

use std::sync::LazyLock;

use lovage_core::envelope::edit;
use lovage_core::{BATCH_MAX, EnqueueError, Forwarded, Outgoing, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::unexpected;
use crate::reply::{count, list, number, word};
use crate::script::{Script, WhenFull};
use crate::transitions::{Answer, moved};

/// `enqueue.lua` is a function here, as it is: what is forwarded is stored as what is sent.
static FORWARD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        WhenFull::Refuse,
        concat!(
            include_str!("../../scripts/lib/now.lua"),
            include_str!("../../scripts/lib/chunks.lua"),
            include_str!("../../scripts/lib/envelope.lua"),
            include_str!("../../scripts/lib/places.lua"),
            "local function enqueue(ARGV)\n",
            include_str!("../../scripts/enqueue.lua"),
            "end\n",
            include_str!("../../scripts/forward.lua"),
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
    let mut names: Vec<&str> = vec![&keys.meta, &keys.tasks, &keys.scheduled, &keys.bell];
    names.extend(ready);
    names.extend([keys.dead.as_str(), keys.reasons.as_str()]);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&FORWARD, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(&levels)
                .arg(&part.division)
                .arg(part.seen);
            for task in &outgoing {
                call.arg(task.number)
                    .arg(task.id.as_bytes())
                    .arg(&*task.bytes);
            }
        })
        .await?;
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
