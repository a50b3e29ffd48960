//! `settle.lua`.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    BATCH_MAX, BrokerError, Fence, QueueName, Settled, Settlement, TaskId, TransportError, Verdict,
    WorkerId, span_ms,
};
use redis::Value;

use crate::broker::{CANCELLED_KEPT, Shared};
use crate::error::unexpected;
use crate::keys::Keys;
use crate::reply::{count, list};
use crate::script::{Call, Script, script};
use crate::transitions::mark;

static SETTLE: LazyLock<Script> = script!("settle", Run);

/// The same verdict on tasks of the same claim, one after another: as a rule a whole batch that is done.
struct Group {
    fence: Fence,
    wire: Wire,
    ids: Vec<TaskId>,
}

#[derive(PartialEq)]
struct Wire {
    kind: &'static str,
    span: Option<u64>,
    body: Bytes,
}

pub(crate) async fn settle(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    settlements: Vec<Settlement>,
) -> Result<Settled, BrokerError> {
    if BATCH_MAX < settlements.len() {
        return Err(BrokerError::Refused(TransportError::new(format!(
            "{} settlements in one call, the limit is {BATCH_MAX}",
            settlements.len()
        ))));
    }
    let keys = shared.keys(queue);
    let active = keys.active(worker);
    let mut plan = Plan::default();
    for settlement in settlements {
        plan.add(settlement, &keys);
    }
    let names = plan.keys(&keys, &active);
    let now = shared.now();
    let reply = shared
        .connection
        .run(&SETTLE, |call| {
            call.keys(&names)
                .arg(&now)
                .arg(names.len() - plan.results.len() + 1)
                .arg(&shared.channels)
                .arg(span_ms(CANCELLED_KEPT));
            for group in &plan.groups {
                group.write(call);
            }
        })
        .await?;
    plan.read(reply).ok_or_else(|| unexpected("settle"))
}

#[derive(Default)]
struct Plan {
    groups: Vec<Group>,
    order: Vec<TaskId>,
    seen: HashSet<(TaskId, Fence)>,
    /// Named twice by the same fence: the second is stale, whatever the first was.
    twice: Vec<TaskId>,
    results: Vec<String>,
    all_done: bool,
}

impl Plan {
    fn add(&mut self, settlement: Settlement, keys: &Keys) {
        let Settlement { id, fence, verdict } = settlement;
        if !self.seen.insert((id, fence)) {
            self.twice.push(id);
            return;
        }
        self.all_done =
            (self.all_done || self.order.is_empty()) && matches!(verdict, Verdict::Done { .. });
        let wire = Wire::of(verdict);
        if wire.keeps() {
            self.results.push(keys.result(id));
        }
        self.order.push(id);
        match self.groups.last_mut() {
            Some(last) if last.fence == fence && last.wire == wire => last.ids.push(id),
            _ => self.groups.push(Group {
                fence,
                wire,
                ids: vec![id],
            }),
        }
    }

    fn keys<'a>(&'a self, keys: &'a Keys, active: &'a str) -> Vec<&'a str> {
        let mut names: Vec<&str> = vec![
            &keys.tasks,
            active,
            &keys.waiting,
            &keys.facts,
            &keys.cancels,
        ];
        if !self.all_done {
            names.extend([
                keys.meta.as_str(),
                &keys.scheduled,
                &keys.dead,
                &keys.reasons,
                &keys.bell,
                &keys.results,
            ]);
            names.extend(keys.ready.iter().map(String::as_str));
        }
        names.extend(self.results.iter().map(String::as_str));
        names
    }

    fn read(self, reply: Value) -> Option<Settled> {
        let items = list(reply)?;
        let [held, Value::Array(positions)] = items.as_slice() else {
            return None;
        };
        let mut stale = positions
            .iter()
            .map(|position| self.order.get(count(position)?).copied())
            .collect::<Option<Vec<_>>>()?;
        stale.extend(self.twice);
        Some(Settled {
            stale,
            held: count(held)?,
        })
    }
}

impl Group {
    fn write(&self, call: &mut Call) {
        call.arg(mark(self.fence)).arg(self.wire.kind);
        match self.wire.span {
            Some(span) => call.arg(span),
            None => call.arg(""),
        };
        call.arg(&*self.wire.body).arg(self.ids.len());
        for id in &self.ids {
            call.arg(id.as_bytes());
        }
    }
}

impl Wire {
    fn of(verdict: Verdict) -> Self {
        let wire = |kind, span: Option<Duration>, body| Self {
            kind,
            span: span.map(span_ms),
            body,
        };
        match verdict {
            Verdict::Done { outcome, keep } => wire("done", keep, outcome.encode()),
            Verdict::RetryIn(span) => wire("retry", Some(span), Bytes::new()),
            Verdict::Park(span) => wire("park", Some(span), Bytes::new()),
            // A dead letter answers with its reason as long as it is one; a kept outcome would outlive its revival.
            Verdict::Bury { failure, .. } => wire("bury", None, failure.encode().into()),
            // `Release`, and what a later version of the contract may add: giving the task back is always right.
            _ => wire("release", None, Bytes::new()),
        }
    }

    fn keeps(&self) -> bool {
        self.span.is_some() && self.kind == "done"
    }
}
