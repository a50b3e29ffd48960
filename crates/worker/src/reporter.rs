//! What this worker says of itself to its queues: where it runs, and what it is at.
//!
//! The lease thread reports, so that a busy runtime does not silence it; what runs is known to the pump alone, which
//! lists it when it is asked. A run pays nothing for that: the list holds on to no run and to none of its arguments.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lovage_core::{RunningTask, WeakTaskContext, WorkerId, WorkerReport, ms};
use tokio::sync::Notify;

use crate::host;
use crate::limits::rss_bytes;

/// The most runs that are listed: about what a report has room for.
pub(crate) const LISTED_MAX: usize = 1_000;
/// How long the pump is waited for. One that is blocked has listed its runs before, and blocks among those.
const PUMP_MAX: Duration = ms(200);

/// A run as the pump lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) worker: WorkerId,
    pub(crate) began: Instant,
    pub(crate) context: WeakTaskContext,
}

/// The list, and what else is said.
#[derive(Debug)]
pub(crate) struct Reporter {
    about: WorkerReport,
    listed: Mutex<Vec<Listed>>,
    new_list: Notify,
}

impl Reporter {
    pub(crate) fn new(name: String, build: Option<String>) -> Self {
        Self {
            about: WorkerReport {
                name,
                host: host::name(),
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                build,
                ..WorkerReport::default()
            },
            listed: Mutex::default(),
            new_list: Notify::new(),
        }
    }

    /// Takes the place of the list before: of very many runs those that noted something and the longest ones.
    pub(crate) fn list(&self, mut runs: Vec<Listed>) {
        if LISTED_MAX < runs.len() {
            let is_silent = |run: &Listed| {
                let context = run.context.upgrade();
                context.is_none_or(|context| context.last_progress().is_none())
            };
            runs.sort_by_cached_key(|run| (is_silent(run), run.began));
            runs.truncate(LISTED_MAX);
        }
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = runs;
        self.new_list.notify_one();
    }

    /// Waits until the pump has listed what runs, for as long as it may take.
    pub(crate) async fn listed(&self) {
        // A list that comes later is as good for the next report.
        let _ = tokio::time::timeout(PUMP_MAX, self.new_list.notified()).await;
    }

    /// What is to be said under one identity, at `now`.
    pub(crate) fn report(&self, worker: WorkerId, now: Instant) -> WorkerReport {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let own = listed.iter().filter(|run| run.worker == worker);
        let running = own.filter_map(|run| {
            // Gone where the run has ended since.
            let context = run.context.upgrade()?;
            Some(RunningTask {
                id: context.id(),
                task: context.task().to_string(),
                ran: now.saturating_duration_since(run.began),
                progress: context.last_progress(),
            })
        });
        WorkerReport {
            rss_bytes: rss_bytes(),
            running: running.collect(),
            ..self.about.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::{Progress, TaskContext, secs};

    fn listed(worker: WorkerId, context: &TaskContext, began: Instant) -> Listed {
        Listed {
            worker,
            began,
            context: context.downgrade(),
        }
    }

    #[test]
    fn a_report_shows_what_runs_under_its_identity_and_how_far_it_is() {
        let (worker, other, now) = (WorkerId::random(), WorkerId::random(), Instant::now());
        let [ours, ended, theirs] = [(); 3].map(|()| TaskContext::for_test());
        let reporter = Reporter::new("eu-1".to_owned(), Some("abc".to_owned()));
        reporter.list(vec![
            listed(worker, &ours, now),
            listed(worker, &ended, now),
            listed(other, &theirs, now),
        ]);
        drop(ended);
        ours.progress((3, 9));

        let report = reporter.report(worker, now + secs(2));
        assert_eq!(
            (report.name.as_str(), report.pid),
            ("eu-1", std::process::id())
        );
        let [run] = &report.running[..] else {
            panic!("{report:?}");
        };
        assert_eq!((run.id, run.ran), (ours.id(), secs(2)));
        assert_eq!(run.progress, Some(Progress::Count(3, 9)));
    }

    #[test]
    fn of_very_many_runs_those_with_progress_and_the_longest_are_listed() {
        let (worker, now) = (WorkerId::random(), Instant::now());
        let contexts: Vec<_> = (0..LISTED_MAX + 2)
            .map(|_| TaskContext::for_test())
            .collect();
        contexts[LISTED_MAX + 1].progress("nearly there");
        let reporter = Reporter::new(String::new(), None);
        let runs = contexts.iter().zip(0u64..);
        let runs = runs.map(|(context, n)| listed(worker, context, now + ms(n)));
        reporter.list(runs.collect());

        let report = reporter.report(worker, now + secs(9));
        let ids: Vec<_> = report.running.iter().map(|run| run.id).collect();
        assert_eq!(ids.len(), LISTED_MAX);
        assert_eq!(ids[0], contexts[LISTED_MAX + 1].id());
        assert!(!ids.contains(&contexts[LISTED_MAX].id()));
    }
}
