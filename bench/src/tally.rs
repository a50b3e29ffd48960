//! What a worker process notes of the tasks that it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::stats::{number, percentile};

static RUNS: AtomicU64 = AtomicU64::new(0);
static FIRST_NS: AtomicU64 = AtomicU64::new(u64::MAX);
static LATENESS_MS: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// The runs of a process so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    /// When the first one started; `u64::MAX` before that.
    pub(crate) first_ns: u64,
}

/// How late the runs started, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Lateness {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Nanoseconds since the epoch by the host's clock, which all processes of a run share.
pub(crate) fn now_ns() -> u64 {
    let span = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Notes a run.
pub(crate) fn ran() {
    // Only the first asks the clock: the rest of a drain pays one addition a task.
    if RUNS.fetch_add(1, Ordering::Relaxed) == 0 {
        FIRST_NS.store(now_ns(), Ordering::Relaxed);
    }
}

/// Notes a run that should have started at `due_ns`.
pub(crate) fn ran_late(due_ns: u64) {
    let now = now_ns();
    let late = number(now.saturating_sub(due_ns)) - number(due_ns.saturating_sub(now));
    LATENESS_MS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(late / 1e6);
    ran();
}

/// The runs so far.
pub(crate) fn runs() -> Runs {
    Runs {
        count: RUNS.load(Ordering::Relaxed),
        first_ns: FIRST_NS.load(Ordering::Relaxed),
    }
}

/// How late the runs since the last [`forget`] started.
pub(crate) fn lateness() -> Lateness {
    let mut sorted = LATENESS_MS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    sorted.sort_by(f64::total_cmp);
    Lateness {
        count: sorted.len() as u64,
        min: percentile(&sorted, 0.0),
        p50: percentile(&sorted, 0.5),
        p99: percentile(&sorted, 0.99),
        p999: percentile(&sorted, 0.999),
        max: percentile(&sorted, 1.0),
    }
}

/// Starts anew.
pub(crate) fn forget() {
    RUNS.store(0, Ordering::Relaxed);
    FIRST_NS.store(u64::MAX, Ordering::Relaxed);
    LATENESS_MS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}
