//! The limits of a worker: with so many tasks run, or so much memory used, it ends, for another to take its place.

use std::sync::{Arc, Weak};
use std::time::Duration;

use lovage_core::ms;
use tokio::time::sleep;

use crate::settings::Settings;
use crate::shutdown::{Command, Commander, command};
use crate::stats::NotReady;
use crate::worker::Shared;

/// How often is looked: a worker runs up to so much longer than its limits say.
const LOOK_EVERY: Duration = ms(250);
/// A line of numbers, in pages: size, resident, shared, text, lib, data, dirty.
#[cfg(unix)]
const STATM: &str = "/proc/self/statm";

/// Looks whether a worker has reached a limit, and lets it drain then, as at a first SIGTERM.
pub(crate) struct Watch {
    tasks_max: Option<u64>,
    rss_max: Option<u64>,
    grace: Duration,
    /// Weak: a worker whose handle is dropped gives everything back.
    commander: Weak<Commander>,
    shared: Arc<Shared>,
}

impl Watch {
    /// None where nothing is limited.
    pub(crate) fn new(
        settings: &Settings,
        commander: &Arc<Commander>,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        let is_limited = settings.max_tasks.is_some() || settings.max_rss.is_some();
        is_limited.then(|| Self {
            tasks_max: settings.max_tasks,
            rss_max: settings.max_rss,
            grace: settings.shutdown_grace,
            commander: Arc::downgrade(commander),
            shared: Arc::clone(shared),
        })
    }

    pub(crate) async fn run(self) {
        let reached = loop {
            if self.commander.strong_count() == 0 || self.shared.is_ended() {
                return;
            }
            match self.reached() {
                Some(reached) => break reached,
                None => sleep(LOOK_EVERY).await,
            }
        };
        let Some(commander) = self.commander.upgrade() else {
            return;
        };
        tracing::info!(limit = %reached, grace = ?self.grace, "the worker has reached a limit and drains, for another to take its place");
        let _ = self.shared.outgrown.set(reached);
        command(&commander, Command::Drain(self.grace));
    }

    fn reached(&self) -> Option<NotReady> {
        let stats = self.shared.stats();
        let tasks = stats.ran;
        if let Some(limit) = self.tasks_max.filter(|limit| *limit <= tasks) {
            return Some(NotReady::MaxTasks { tasks, limit });
        }
        let limit = self.rss_max?;
        let rss = rss_bytes().filter(|rss| limit < *rss)?;
        Some(NotReady::MaxRss { rss, limit })
    }
}

/// The memory in bytes that this process has in RAM; unknown but on Linux.
pub(crate) fn rss_bytes() -> Option<u64> {
    statm(1)
}

/// The memory in bytes that is private to this process and can be written: what `RLIMIT_DATA` limits.
#[cfg(unix)]
pub(crate) fn data_bytes() -> Option<u64> {
    statm(5)
}

#[cfg(unix)]
fn statm(place: usize) -> Option<u64> {
    let text = std::fs::read_to_string(STATM).ok()?;
    let pages: u64 = text.split_whitespace().nth(place)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(not(unix))]
fn statm(_: usize) -> Option<u64> {
    None
}
