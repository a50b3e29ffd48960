//! `dead_letters.lua`.

use std::sync::LazyLock;

use lovage_core::{BATCH_MAX, BrokerError, DeadLetter, Failure, QueueName};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{bytes, id, instant, list};
use crate::script::{Script, script};

static DEAD_LETTERS: LazyLock<Script> = script!("dead_letters", Run, ["chunks"]);

pub(crate) async fn dead_letters(
    shared: &Shared,
    queue: &QueueName,
    offset: usize,
    limit: usize,
) -> Result<Vec<DeadLetter>, BrokerError> {
    let limit = limit.min(BATCH_MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let keys = shared.keys(queue);
    let reply = shared
        .connection
        .run(&DEAD_LETTERS, |call| {
            call.keys(&[&keys.dead, &keys.tasks, &keys.reasons])
                .arg(offset)
                .arg(limit);
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("dead_letters"))
}

/// Three lists: ids and times of death, failure records, envelopes.
pub(super) fn read(reply: Value) -> Option<Vec<DeadLetter>> {
    let mut lists = list(reply)?.into_iter();
    let deaths = list(lists.next()?)?;
    let reasons = list(lists.next()?)?;
    let envelopes = list(lists.next()?)?;
    let letters = deaths
        .chunks_exact(2)
        .zip(reasons)
        .zip(envelopes)
        .filter_map(|((death, reason), envelope)| letter(death, reason, envelope))
        .collect();
    Some(letters)
}

/// A dead letter from its id and time of death, its record and its envelope.
pub(super) fn letter(death: &[Value], reason: Value, envelope: Value) -> Option<DeadLetter> {
    let record = bytes(reason).unwrap_or_default();
    let bytes = bytes(envelope).unwrap_or_default();
    Some(DeadLetter {
        id: id(&death[0])?,
        died_at: instant(&death[1])?,
        failure: Failure::decode(&record),
        size: u64::try_from(record.len() + bytes.len()).unwrap_or(u64::MAX),
        bytes,
    })
}
