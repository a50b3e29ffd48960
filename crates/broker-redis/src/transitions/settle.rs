//! `settle.lua`.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use lovage_core::{
    BATCH_MAX, BrokerError, Cut, Failure, Fence, QueueName, Settled, Settlement, TaskId,
    TransportError, Verdict, WorkerId, span_ms,
};
use redis::Value;

use crate::broker::{CANCELLED_KEPT, Shared};
use crate::error::unexpected;
use crate::keys::Keys;
use crate::reply::{count, list, word};
use crate::script::{Call, Script, script};
use crate::transitions::{mark, read_cut};

static SETTLE: LazyLock<Script> = script!(
    "settle",
    Run,
    [
        "now",
        "chunks",
        "envelope",
        "places",
        "outcome",
        "dead_bytes",
        "dead",
        "locks"
    ]
);

/// The same verdict on tasks of the same claim, one after another: as a rule a whole batch that is done.
struct Group {
    fence: Fence,
    kind: &'static str,
    span: Option<u64>,
    /// The one outcome or record of all; of [`KEPT`] one for each id.
    bodies: Vec<Bytes>,
    /// Sixteen bytes each.
    ids: Vec<u8>,
}

/// Done, with an outcome of its own for each, which is kept.
const KEPT: &str = "kept";

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
        let (kind, span, body) = wire(verdict);
        if kind == KEPT {
            self.results.push(keys.result(id));
        }
        self.order.push(id);
        match self.groups.last_mut() {
            Some(last) if last.fence == fence && last.takes(kind, span, &body) => {
                last.ids.extend_from_slice(id.as_bytes());
                if kind == KEPT {
                    last.bodies.push(body);
                }
            }
            _ => self.groups.push(Group {
                fence,
                kind,
                span,
                bodies: vec![body],
                ids: id.as_bytes().to_vec(),
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
            &keys.locks,
            &keys.uniques,
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
            names.push(&keys.callbacks);
        }
        names.extend(self.results.iter().map(String::as_str));
        names
    }

    fn read(self, reply: Value) -> Option<Settled> {
        let (stale, cut) = if word(&reply) == b"cut" {
            let mut parts = list(reply)?.into_iter().skip(1);
            (parts.next()?, read_cut(parts.next()?)?)
        } else {
            (reply, Cut::default())
        };
        let mut stale = list(stale)?
            .iter()
            .map(|position| self.order.get(count(position)?).copied())
            .collect::<Option<Vec<_>>>()?;
        stale.extend(self.twice);
        Some(Settled { stale, cut })
    }
}

impl Group {
    fn takes(&self, kind: &str, span: Option<u64>, body: &Bytes) -> bool {
        self.kind == kind
            && self.span == span
            && (kind == KEPT || self.bodies.first() == Some(body))
    }

    fn write(&self, call: &mut Call) {
        call.arg(mark(self.fence)).arg(self.kind);
        match self.span {
            Some(span) => call.arg(span),
            None => call.arg(""),
        };
        let ids = self.ids.as_slice();
        if self.kind == KEPT {
            call.arg("").arg(ids);
            for body in &self.bodies {
                call.arg(&**body);
            }
        } else {
            call.arg(&*self.bodies[0]).arg(ids);
        }
    }
}

/// The word, the span in milliseconds, or how much a sender is told, and the outcome or record of a verdict.
fn wire(verdict: Verdict) -> (&'static str, Option<u64>, Bytes) {
    match verdict {
        Verdict::Done {
            outcome,
            keep: Some(keep),
            // Redis refuses to keep something for no time at all.
        } => (KEPT, Some(span_ms(keep).max(1)), outcome.encode()),
        Verdict::Done {
            outcome,
            keep: None,
        } => ("done", None, outcome.encode()),
        Verdict::RetryIn(span) => ("retry", Some(span_ms(span)), Bytes::new()),
        Verdict::Park(span) => ("park", Some(span_ms(span)), Bytes::new()),
        Verdict::Snooze(span) => ("snooze", Some(span_ms(span)), Bytes::new()),
        // Nothing is kept beside a dead letter: it answers with its reason.
        Verdict::Bury(failure) => {
            let record = failure.encode();
            let told = Failure::told(&record).len() as u64;
            ("bury", Some(told), record.into())
        }
        // `Release`, and what a later version of the contract may add: giving the task back is always right.
        _ => ("release", None, Bytes::new()),
    }
}
