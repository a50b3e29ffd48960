//! `dead_letter.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, DeadLetter, QueueName, TaskId};

use super::dead_letters::read;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::script::{Script, script};

static DEAD_LETTER: LazyLock<Script> = script!("dead_letter", Run, []);

pub(crate) async fn dead_letter(
    shared: &Shared,
    queue: &QueueName,
    id: TaskId,
) -> Result<Option<DeadLetter>, BrokerError> {
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&DEAD_LETTER, |call| {
            call.keys(&[&keys.dead, &keys.tasks, &keys.reasons])
                .arg(id.as_bytes());
        })
        .await?;
    let letters = read(reply).ok_or_else(|| unexpected("dead_letter"))?;
    Ok(letters.into_iter().next())
}
