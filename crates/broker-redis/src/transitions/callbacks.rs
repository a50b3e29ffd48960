//! `callbacks.lua`.

use std::num::NonZeroU16;
use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BATCH_MAX, BrokerError, Owed, QueueName, span_ms};
use redis::Value;

use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::list;
use crate::script::{Script, script};
use crate::transitions::claim::read_facts;
use crate::transitions::dead_letters::letter;

static CALLBACKS: LazyLock<Script> = script!("callbacks", Run, ["now", "chunks"]);

pub(crate) async fn callbacks(
    shared: &Shared,
    queue: &QueueName,
    max: NonZeroU16,
    patience: Duration,
) -> Result<Vec<Owed>, BrokerError> {
    let keys = shared.keys(queue);
    let now = shared.now();
    let max = usize::from(max.get()).min(BATCH_MAX);
    let reply = shared
        .connection
        .run(&CALLBACKS, |call| {
            call.keys(&[
                &keys.callbacks,
                &keys.dead,
                &keys.tasks,
                &keys.reasons,
                &keys.facts,
            ])
            .arg(&now)
            .arg(max)
            .arg(span_ms(patience));
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("callbacks"))
}

fn read(reply: Value) -> Option<Vec<Owed>> {
    let mut lists = list(reply)?.into_iter().map(list);
    let deaths = lists.next()??;
    let (reasons, envelopes, facts) = (lists.next()??, lists.next()??, lists.next()??);
    let letters = deaths.chunks_exact(2).zip(reasons).zip(envelopes);
    letters
        .zip(facts)
        .map(|(((death, reason), envelope), facts)| {
            let (losses, ..) = read_facts(facts).unwrap_or_default();
            let letter = letter(death, reason, envelope)?;
            Some(Owed { letter, losses })
        })
        .collect()
}
