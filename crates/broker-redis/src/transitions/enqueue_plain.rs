//! `enqueue_plain.lua`: one task alone that names no times.

use std::sync::LazyLock;

use lovage_core::envelope::edit;
use lovage_core::{Confirmed, Durability, Encoded, EnqueueError, Enqueued, QueueName};

use crate::broker::Shared;
use crate::script::{Script, script};
use crate::transitions::enqueue::read;

static ENQUEUE_PLAIN: LazyLock<Script> = script!("enqueue_plain", Refuse, []);

pub(super) async fn enqueue_plain(
    shared: &Shared,
    queue: &QueueName,
    task: &Encoded,
    wanted: Durability,
) -> Result<Confirmed, EnqueueError> {
    let keys = shared.keys(queue);
    let level = edit::priority(task.bytes()).get();
    let ready = &keys.ready[usize::from(level)];
    let (reply, by) = shared
        .run_confirmed(wanted, &keys, &ENQUEUE_PLAIN, |call| {
            call.keys(&[&keys.meta, &keys.tasks, &keys.bell, ready])
                .arg(level)
                .arg(task.id().as_bytes())
                .arg(&**task.bytes());
        })
        .await?;
    let answer = if read(reply, queue)?.is_empty() {
        Enqueued::New
    } else {
        Enqueued::Duplicate
    };
    Ok(Confirmed {
        answers: vec![answer],
        by,
    })
}
