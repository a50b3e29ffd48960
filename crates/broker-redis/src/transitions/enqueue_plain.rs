//! `enqueue_plain.lua`: one task alone that names no times.

use std::sync::LazyLock;

use lovage_core::envelope::edit;
use lovage_core::{Confirmed, Durability, Encoded, EnqueueError, Enqueued};

use crate::broker::Shared;
use crate::divisions::Part;
use crate::error::of_send;
use crate::script::{Script, script};
use crate::transitions::enqueue::read;
use crate::transitions::{Answer, moved};

static ENQUEUE_PLAIN: LazyLock<Script> = script!("enqueue_plain", Refuse, []);

pub(super) async fn enqueue_plain(
    shared: &Shared,
    part: &Part,
    task: &Encoded,
    wanted: Durability,
) -> Result<Answer<Confirmed>, EnqueueError> {
    let keys = shared.keys(&part.name);
    let level = edit::priority(task.bytes()).get();
    let ready = &keys.ready[usize::from(level)];
    let (reply, by) = shared
        .run_confirmed(wanted, &keys, &ENQUEUE_PLAIN, |call| {
            call.keys(&[&keys.meta, &keys.tasks, &keys.bell, ready])
                .arg(level)
                .arg(task.id().as_bytes())
                .arg(&**task.bytes())
                .arg(&part.division);
        })
        .await
        .map_err(of_send)?;
    if let Some(division) = moved(&reply) {
        return Ok(Answer::Moved(division));
    }
    let answer = if read(reply, &part.name)?.is_empty() {
        Enqueued::New
    } else {
        Enqueued::Duplicate
    };
    Ok(Answer::Here(Confirmed {
        answers: vec![answer],
        by,
    }))
}
