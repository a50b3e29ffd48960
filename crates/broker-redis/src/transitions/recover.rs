//! `recover.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use lovage_core::{BrokerError, Cut, LOSSES_MAX, Loss, QueueName, Recovered, span_ms};
use redis::Value;

use crate::broker::{CANCELLED_KEPT, Shared};
use crate::error::unexpected;
use crate::keys::LEASE_FIELDS;
use crate::reply::{bytes, list, number};
use crate::script::{Script, script};
use crate::transitions::read_cut;

static RECOVER: LazyLock<Script> = script!(
    "recover",
    Run,
    [
        "now",
        "chunks",
        "envelope",
        "places",
        "outcome",
        "dead_bytes",
        "dead",
        "losses",
        "locks",
        "lease"
    ]
);

pub(crate) async fn recover(
    shared: &Shared,
    queue: &QueueName,
    patience: Duration,
) -> Result<Recovered, BrokerError> {
    let keys = shared.keys(queue);
    let mut names: Vec<&str> = vec![
        &keys.meta,
        &keys.identities,
        &keys.suspects,
        &keys.tasks,
        &keys.actives,
        &keys.facts,
        &keys.cancels,
        &keys.waiting,
        &keys.dead,
        &keys.reasons,
        &keys.results,
        &keys.bell,
        &keys.locks,
        &keys.uniques,
    ];
    names.extend(keys.ready.iter().map(String::as_str));
    names.extend([keys.reports.as_str(), &keys.losses, &keys.callbacks]);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&RECOVER, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(span_ms(patience))
                .arg(LEASE_FIELDS)
                .arg(LOSSES_MAX)
                .arg(&shared.channels)
                .arg(span_ms(CANCELLED_KEPT));
        })
        .await?;
    read(reply).ok_or_else(|| unexpected("recover"))
}

fn read(reply: Value) -> Option<Recovered> {
    let mut items = list(reply)?.into_iter();
    let [released, buried, more] = [items.next()?, items.next()?, items.next()?];
    let callbacks = items.next()?;
    let losses = list(items.next()?)?.into_iter().filter_map(bytes);
    Some(Recovered {
        losses: losses.filter_map(|record| Loss::decode(&record)).collect(),
        released: number(&released)?,
        buried: number(&buried)?,
        cut: match items.next() {
            None | Some(Value::Nil) => Cut::default(),
            Some(cut) => read_cut(cut)?,
        },
        callbacks: number(&callbacks)? == 1,
        more: number(&more)? == 1,
    })
}
