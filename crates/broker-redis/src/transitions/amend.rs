//! `amend.lua`.

use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, BATCH_MAX, BrokerError, Change, FIRINGS_MAX, Millis, OUTBOX_MAX, QueueName,
    TransportError,
};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::{list, number, word};
use crate::script::{Call, Script, script};

static AMEND: LazyLock<Script> = script!(
    "amend",
    Refuse,
    ["now", "chunks", "envelope", "places", "numbers"]
);

pub(crate) async fn amend(
    shared: &Shared,
    epoch: Option<u64>,
    amendments: Vec<Amendment>,
) -> Result<Vec<Amended>, BrokerError> {
    let n_sends: usize = amendments
        .iter()
        .map(|amendment| amendment.sends.len())
        .sum();
    for (what, count) in [("amendments", amendments.len()), ("tasks to send", n_sends)] {
        if BATCH_MAX < count {
            return Err(BrokerError::Refused(TransportError::new(format!(
                "{count} {what} in one call, the limit is {BATCH_MAX}"
            ))));
        }
    }
    if amendments.is_empty() {
        return Ok(Vec::new());
    }
    let keys = &shared.beat;
    let now = shared.now();
    let epoch = epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    let reply = shared
        .connection
        .run(&AMEND, |call| {
            call.keys(&[
                &keys.meta,
                &keys.versions,
                &keys.records,
                &keys.wakes,
                &keys.names,
                &keys.outboxes,
                &keys.bell,
                &keys.outbox_of,
                &keys.histories,
            ])
            .arg(&now)
            .arg(&epoch)
            .arg(OUTBOX_MAX)
            .arg(FIRINGS_MAX);
            for amendment in &amendments {
                write(amendment, call);
            }
        })
        .await?;
    if word(&reply) == b"deposed" {
        return Ok(vec![Amended::Deposed; amendments.len()]);
    }
    let answers = list(reply).unwrap_or_default();
    let answers: Option<Vec<Amended>> = answers.iter().map(read).collect();
    answers
        .filter(|answers| answers.len() == amendments.len())
        .ok_or_else(|| unexpected("amend"))
}

fn write(amendment: &Amendment, call: &mut Call) {
    let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let (change, record, wake) = match &amendment.change {
        Change::Store { record, wake } => ("store", record.clone(), wake.map(Millis::get)),
        Change::Remove => ("remove", Bytes::new(), None),
    };
    // No more are kept.
    let surplus = amendment.firings.len().saturating_sub(FIRINGS_MAX);
    let firings = &amendment.firings[surplus..];
    call.arg(amendment.name.as_str())
        .arg(text(amendment.expected))
        .arg(change)
        .arg(&*record)
        .arg(text(wake))
        .arg(amendment.sends.len())
        .arg(firings.len());
    for (queue, task) in &amendment.sends {
        call.arg(queue.as_str())
            .arg(task.id().as_bytes())
            .arg(&**task.bytes());
    }
    for firing in firings {
        call.arg(&**firing);
    }
}

fn read(answer: &Value) -> Option<Amended> {
    match (word(answer), answer) {
        (b"conflict", _) => Some(Amended::Conflict),
        (b"full", Value::Array(items)) => {
            let queue = std::str::from_utf8(word(items.get(1)?)).ok()?;
            Some(Amended::OutboxFull(QueueName::parse(queue).ok()?))
        }
        _ => number(answer).map(Amended::Done),
    }
}
