//! One line of the ledger of losses, and its stored form.

use std::time::Duration;

use serde::Deserialize;

use super::{Progress, WorkerReport};
use crate::broker::Fence;
use crate::ids::{TaskId, WorkerId};
use crate::lifecycle::State;
use crate::time::Millis;

/// A delivery that was lost with its worker: recovery found the lease ended, twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The task.
    pub id: TaskId,
    /// The handing-out that was lost.
    pub fence: Fence,
    /// When recovery took it back; the worker was last heard of at least a lease earlier.
    pub lost_at: Millis,
    /// How often its workers were lost so far, this time included.
    pub losses: u32,
    /// What became of it: ready again, dead, or gone since somebody had cancelled it.
    pub became: State,
    /// The worker that held it.
    pub worker: LostWorker,
    /// Its name, where the worker had reported the run.
    pub task: Option<String>,
    /// How long it had run when the worker last reported; `None` if that report did not show it: it had not started, or
    /// had just begun, or was one of very many.
    pub ran: Option<Duration>,
    /// What its body had noted by then.
    pub progress: Option<Progress>,
}

/// What is known of a worker that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWorker {
    /// The identity.
    pub id: WorkerId,
    /// When it last reported; all below is of then. `None` if it never did.
    pub reported_at: Option<Millis>,
    /// What operators called it.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// The version of Lovage in it.
    pub version: String,
    /// The version of the program, where somebody had set it.
    pub build: Option<String>,
    /// The memory that it occupied, in bytes.
    pub rss_bytes: Option<u64>,
}

/// The stored form (`docs/protocol.md`, "Reports and losses"): Redis writes it, so texts stand for what is bytes elsewhere.
#[derive(Deserialize)]
struct Wire {
    i: String,
    f: String,
    l: u64,
    x: u32,
    o: String,
    w: String,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    h: String,
    #[serde(default)]
    p: u32,
    #[serde(default)]
    v: String,
    #[serde(default)]
    b: Option<String>,
    #[serde(default)]
    m: Option<u64>,
    #[serde(default)]
    t: Option<String>,
    #[serde(default)]
    r: Option<u64>,
    #[serde(default)]
    g: Option<Progress>,
}

impl Loss {
    /// How long the worker had the task in its hands at the most: from the claim until it was taken back.
    pub fn held_for(&self) -> Duration {
        self.lost_at.since(self.fence.claimed_at)
    }

    /// A loss of `id` with a worker that last reported `report`.
    pub fn with_report(mut self, report: Option<(Millis, &WorkerReport)>) -> Self {
        let Some((at, report)) = report else {
            return self;
        };
        self.worker = LostWorker {
            id: self.worker.id,
            reported_at: Some(at),
            name: report.name.clone(),
            host: report.host.clone(),
            pid: report.pid,
            version: report.version.clone(),
            build: report.build.clone(),
            rss_bytes: report.rss_bytes,
        };
        if let Some(run) = report.running.iter().find(|run| run.id == self.id) {
            self.task = Some(run.task.clone());
            self.ran = Some(run.ran);
            self.progress.clone_from(&run.progress);
        }
        self
    }

    /// Reads the stored form; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let wire: Wire = rmp_serde::from_slice(bytes).ok()?;
        let (number, instant) = wire.f.split_once(':')?;
        Some(Self {
            id: wire.i.parse().ok()?,
            fence: Fence {
                number: number.parse().ok()?,
                claimed_at: Millis::new(instant.parse().ok()?),
            },
            lost_at: Millis::new(wire.l),
            losses: wire.x,
            became: match wire.o.as_str() {
                "ready" => State::Ready,
                "dead" => State::Dead,
                _ => State::Gone,
            },
            worker: LostWorker {
                id: wire.w.parse().ok()?,
                reported_at: wire.s.map(Millis::new),
                name: wire.n,
                host: wire.h,
                pid: wire.p,
                version: wire.v,
                build: wire.b,
                rss_bytes: wire.m,
            },
            task: wire.t,
            ran: wire.r.map(Duration::from_millis),
            progress: wire.g,
        })
    }
}

impl LostWorker {
    /// A worker of which nothing but its identity is known.
    pub fn unknown(id: WorkerId) -> Self {
        Self {
            id,
            reported_at: None,
            name: String::new(),
            host: String::new(),
            pid: 0,
            version: String::new(),
            build: None,
            rss_bytes: None,
        }
    }
}
