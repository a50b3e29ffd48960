//! What a worker has done so far, and whether it is fit for work.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lovage_core::{Cut, Outcome, QueueName, Verdict};
use serde::Serialize;

/// What a worker has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Deliveries claimed.
    pub claimed: u64,
    /// Runs that have ended, whatever came of them.
    pub ran: u64,
    /// Runs that succeeded.
    pub done: u64,
    /// Runs that failed and shall run again.
    pub retried: u64,
    /// Tasks buried as dead letters.
    pub buried: u64,
    /// Dead letters that the retention of a queue cut, as this worker buried another or looked for what is too old.
    pub cut: u64,
    /// Tasks that had expired before they could start.
    pub expired: u64,
    /// Tasks put off for a worker that can run them: of unknown name, or whose child process does not start here.
    pub parked: u64,
    /// Runs that ended by asking for another one later, without counting as an attempt.
    pub snoozed: u64,
    /// Deliveries given back.
    pub released: u64,
    /// Answers that came too late: the delivery belonged to this worker no more.
    pub stale: u64,
    /// Identities lost to recovery.
    pub leases_lost: u64,
    /// Child processes started, for the process lane.
    pub children: u64,
    /// Runs whose child process ended without an answer. They count as retried or buried as well.
    pub crashed: u64,
    /// Deliveries held now, running and waiting.
    pub held: usize,
}

/// A reason why a worker is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotReady {
    /// It is draining or has ended.
    #[error("the worker is shutting down")]
    ShuttingDown,
    /// It has run as many tasks as it shall, and ends.
    #[error("it has run {tasks} tasks, its limit is {limit}")]
    MaxTasks {
        /// Those that have ended.
        tasks: u64,
        /// The limit.
        limit: u64,
    },
    /// It uses more memory than it shall, and ends.
    #[error("it uses {rss} bytes of memory, its limit is {limit}")]
    MaxRss {
        /// What it uses.
        rss: u64,
        /// The limit.
        limit: u64,
    },
    /// A queue has not answered a registration or renewal in time.
    #[error("no good lease on queue {queue}")]
    NoLease {
        /// The queue.
        queue: QueueName,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) claimed: AtomicU64,
    pub(crate) ran: AtomicU64,
    done: AtomicU64,
    retried: AtomicU64,
    buried: AtomicU64,
    cut: AtomicU64,
    expired: AtomicU64,
    parked: AtomicU64,
    snoozed: AtomicU64,
    released: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) leases_lost: AtomicU64,
    pub(crate) children: AtomicU64,
    pub(crate) crashed: AtomicU64,
    pub(crate) held: AtomicUsize,
}

impl Counters {
    pub(crate) fn settled(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Done {
                outcome: Outcome::Expired,
                ..
            } => &self.expired,
            Verdict::Done { .. } => &self.done,
            Verdict::RetryIn(_) => &self.retried,
            Verdict::Bury(_) => &self.buried,
            Verdict::Park(_) => &self.parked,
            Verdict::Snooze(_) => &self.snoozed,
            _ => &self.released,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts dead letters that were cut, and says so.
    pub(crate) fn cut(&self, queue: &QueueName, cut: &Cut) {
        if cut.total() == 0 {
            return;
        }
        self.cut.fetch_add(cut.total(), Ordering::Relaxed);
        tracing::warn!(
            %queue, cut = cut.total(), by_count = cut.by_count, by_age = cut.by_age,
            by_bytes = cut.by_bytes, oldest = ?cut.oldest,
            "dead letters were cut: they are beyond the queue's retention"
        );
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            claimed: read(&self.claimed),
            ran: read(&self.ran),
            done: read(&self.done),
            retried: read(&self.retried),
            buried: read(&self.buried),
            cut: read(&self.cut),
            expired: read(&self.expired),
            parked: read(&self.parked),
            snoozed: read(&self.snoozed),
            released: read(&self.released),
            stale: read(&self.stale),
            leases_lost: read(&self.leases_lost),
            children: read(&self.children),
            crashed: read(&self.crashed),
            held: self.held.load(Ordering::Relaxed),
        }
    }
}
