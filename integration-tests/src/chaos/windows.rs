//! What was broken, from when to when, and whom it could touch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{Clock, Millis};

/// What kind of fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A worker was killed (-9).
    Kill,
    /// A worker was told to stop, gave back what it had not finished, and ended.
    Stop,
    /// A worker was frozen for a while.
    Freeze,
    /// A worker's connections were reset, or closed behind some bytes.
    Cut,
    /// A worker's connections stood still, or lost bytes without a sign.
    Silence,
    /// The producers' connections were reset, closed, stood still or lost bytes.
    Producer,
    /// What stores the tasks was killed and started again with its data.
    Restart,
    /// What stores the tasks was frozen for a while.
    Stall,
    /// All scripts were forgotten, or all connections closed by the server.
    Nuisance,
    /// A replica was promoted in order: nothing is lost by it.
    HandOver,
    /// A primary was killed, and a replica promoted that may not have had all of its writes.
    FailOver,
    /// Slots moved from one node to another.
    Reshard,
}

/// One fault.
#[derive(Clone, Debug)]
pub struct Window {
    /// What it was.
    pub what: What,
    /// Since when.
    pub from: Millis,
    /// Until when it can have had an effect.
    pub to: Millis,
    /// The processes that it touched; `None` is all.
    pub pids: Option<Vec<u32>>,
}

impl Window {
    /// Whether a process with this id was touched.
    pub fn touches(&self, pid: u32) -> bool {
        self.pids.as_ref().is_none_or(|pids| pids.contains(&pid))
    }

    /// Whether the other one touched a process that this one touches.
    pub fn touches_one_of(&self, other: &Self) -> bool {
        let pids = other.pids.as_deref();
        pids.is_none_or(|pids| pids.iter().any(|pid| self.touches(*pid)))
    }

    /// Whether a worker's call may end without an answer by it.
    pub fn breaks_calls(&self) -> bool {
        match self.what {
            What::Kill | What::Stop | What::Freeze | What::Producer => false,
            What::Cut
            | What::Silence
            | What::Restart
            | What::Stall
            | What::Nuisance
            | What::HandOver
            | What::FailOver
            | What::Reshard => true,
        }
    }

    /// Whether it had an effect at some instant of this span.
    pub fn meets(&self, from: Millis, to: Millis) -> bool {
        self.from <= to && from <= self.to
    }

    /// How long it lasted.
    pub fn span(&self) -> Duration {
        self.to.since(self.from)
    }
}

/// All faults so far.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<Vec<Window>>);

impl Windows {
    /// Notes a fault that began at `from` and has ended now, but for an `aftermath`.
    pub(crate) fn note(
        &self,
        what: What,
        from: Millis,
        aftermath: Duration,
        pids: Option<Vec<u32>>,
    ) {
        let to = Clock::System.now().plus(aftermath);
        let window = Window {
            what,
            from,
            to,
            pids,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(window);
    }

    pub(crate) fn close(self) -> Vec<Window> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of each kind.
pub(crate) fn counts(windows: &[Window]) -> BTreeMap<What, usize> {
    let mut counts = BTreeMap::new();
    for window in windows {
        *counts.entry(window.what).or_default() += 1;
    }
    counts
}
