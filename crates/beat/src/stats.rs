//! What a beat has done so far, and how it stands.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{CancellationToken, Millis};
use lovage_process::Home;
use serde::Serialize;
use tokio::sync::watch;

/// What a beat has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks fired: put into an outbox.
    pub fired: u64,
    /// Occurrences skipped, as far as they were counted.
    pub skipped: u64,
    /// Tasks forwarded from an outbox to their queue.
    pub forwarded: u64,
    /// Calls of the broker that failed.
    pub errors: u64,
    /// Where it leads.
    pub leading: Option<Leading>,
    /// How often it took the lead.
    pub led: u64,
    /// When it looks for the next occurrence, by the broker's clock; `None` where it does not lead, or nothing is to come.
    pub next_wake: Option<Millis>,
    /// How late the first occurrence was of those dealt with after the last look; zero unless it leads.
    #[serde(rename = "behind_ms", serialize_with = "as_ms")]
    pub behind: Duration,
    /// The last instant, by the broker's clock, until which this leader has dealt with all that was due.
    pub caught_up: Option<Millis>,
    /// Schedules whose record it cannot read.
    pub unreadable: usize,
    /// Why the broker does not let it lead, stand by, or fire; `None` if it does.
    pub broker_error: Option<String>,
    /// Why the entries it was started with, or last loaded, do not apply; `None` if they do.
    pub source_error: Option<String>,
}

/// The lead of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Leading {
    /// Its epoch.
    pub epoch: u64,
    /// Since when, by the broker's clock.
    pub since: Millis,
}

fn as_ms<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(lovage_core::span_ms(*span))
}

/// What the parts of a running beat and its handle look at.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stats: Mutex<Stats>,
    /// The epoch in which it took the lead last.
    pub(crate) epochs: watch::Sender<u64>,
    /// Cancelled to stop it.
    pub(crate) stop: CancellationToken,
    /// Cancelled when it has ended.
    pub(crate) gone: CancellationToken,
    /// Where its parts run.
    pub(crate) home: Home,
}

impl Shared {
    pub(crate) fn new(home: Home) -> Self {
        Self {
            home,
            ..Self::default()
        }
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        // Numbers are good whoever panicked beside them.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn error(&self) {
        self.stats().errors += 1;
    }
}
