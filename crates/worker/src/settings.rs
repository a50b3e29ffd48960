//! What can be set for a worker, with the limits of each.

use std::fmt;
use std::time::Duration;

use lovage_core::{PROCESS_MEMORY_MIN, Retention, mib, mins, ms, secs, size_text};

use crate::limits::rss_bytes;
pub use crate::queues::{Queues, QueuesError};

/// The slots of the async lane, and of the blocking one, unless set.
const CONCURRENCY_DEFAULT: usize = 100;
/// How long a queue keeps a silent worker's tasks for it, unless set.
const LEASE_DEFAULT: Duration = secs(15);
/// How long runs may go on after a shutdown has begun, unless set: Kubernetes kills 30 s after SIGTERM.
const SHUTDOWN_GRACE_DEFAULT: Duration = secs(25);
/// How long a task of unknown name is put off for a worker that knows it, unless set: a rolling deploy's length.
const UNKNOWN_TASK_GRACE_DEFAULT: Duration = mins(10);

/// How long a child process is kept for the next run, unless set.
const PROCESS_IDLE_DEFAULT: Duration = secs(60);
/// How many runs a child process has, unless set: its start is then a hundredth of what a run costs, and what leaks
/// stays small.
const MAX_TASKS_PER_CHILD_DEFAULT: u32 = 100;

const CONCURRENCY_MAX: usize = 65_536;
const CPU_THREADS_MAX: usize = 1_024;
const PROCESS_CONCURRENCY_MAX: usize = 1_024;
/// One dead letter fits, whatever its size: an envelope has at most 4 MiB, and a failure record little beside it.
const DEAD_LETTERS_BYTES_MIN: u64 = mib(8);
/// A letter that is cut sooner was kept for nobody.
const DEAD_LETTERS_AGE_MIN: Duration = secs(1);
const PROCESS_IDLE_MAX: Duration = mins(24 * 60);
/// Below this a renewal every third of it is lost in the noise of a busy host.
const LEASE_MIN: Duration = ms(300);
const LEASE_MAX: Duration = mins(60);
const SHUTDOWN_GRACE_MAX: Duration = mins(24 * 60);
const PREFETCH_MAX: u16 = 1_000;

/// Where bodies of the process lane run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ProcessLane {
    /// In child processes of this program, which must have an entry for them.
    #[default]
    Children,
    /// On threads of this process, as those of the cpu lane: for tests, whose `main` is not theirs. A crash is then one
    /// of the whole process.
    Threads,
}

/// A worker's settings. There may come to be more of them: end a literal with `..Settings::default()`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The queues; `None` is every queue that a task of the registry is sent to unless told otherwise, evenly.
    ///
    /// A queue is claimed from for the narrowest lane that its tasks run on: async tasks in a queue with `cpu` ones wait
    /// for a thread of theirs. Give the tasks of each lane a queue of their own.
    pub queues: Option<Queues>,
    /// The slots of the async lane, and of the blocking one.
    pub concurrency: usize,
    /// The threads of the cpu lane.
    pub cpu_threads: usize,
    /// The child processes of the process lane.
    pub process_concurrency: usize,
    /// The most memory in bytes that a child process may have, unless its task says; `None` is no limit.
    pub process_memory: Option<u64>,
    /// How many runs a child process has before another takes its place.
    pub max_tasks_per_child: u32,
    /// How long a child process may be idle before it is ended.
    pub process_idle: Duration,
    /// Where bodies of the process lane run.
    pub process_lane: ProcessLane,
    /// How long a queue keeps this worker's tasks for it after it was last heard of.
    pub lease: Duration,
    /// How long runs may go on after a shutdown has begun.
    pub shutdown_grace: Duration,
    /// After how many runs, snoozed ones included, the worker drains and ends, for another to take its place. It looks four times a second.
    pub max_tasks: Option<u64>,
    /// With how much memory in RAM, in bytes, the worker drains and ends, for another to take its place. Child processes
    /// do not count. It looks four times a second; on Linux alone.
    pub max_rss: Option<u64>,
    /// What operators call this worker; no identity.
    pub name: String,
    /// Which build of the program it is, in its own words.
    pub build: Option<String>,
    /// How long a task that cannot be run is put off: one of unknown name is buried then, and a child process that does
    /// not start counts as a failure.
    pub unknown_task_grace: Duration,
    /// Tasks held a slot, running one included; `None` adapts to the tasks' run time.
    pub prefetch: Option<u16>,
    /// How many dead letters the queues keep, set when the worker starts; `None` leaves that as it is.
    pub dead_letters: Option<Retention>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queues: None,
            concurrency: CONCURRENCY_DEFAULT,
            cpu_threads: cores(),
            process_concurrency: cores(),
            process_memory: None,
            max_tasks_per_child: MAX_TASKS_PER_CHILD_DEFAULT,
            process_idle: PROCESS_IDLE_DEFAULT,
            process_lane: ProcessLane::default(),
            lease: LEASE_DEFAULT,
            shutdown_grace: SHUTDOWN_GRACE_DEFAULT,
            max_tasks: None,
            max_rss: None,
            name: String::from("worker"),
            build: None,
            unknown_task_grace: UNKNOWN_TASK_GRACE_DEFAULT,
            prefetch: None,
            dead_letters: None,
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// A setting out of its limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, it must be {limit}; {advice}")]
pub struct SettingsError {
    setting: &'static str,
    value: String,
    limit: String,
    advice: &'static str,
}

impl Settings {
    /// Checks every setting against its limits, but for `max_rss`: that is compared with what is used when a worker starts.
    pub fn check(&self) -> Result<(), SettingsError> {
        within(
            "concurrency",
            &self.concurrency,
            1..=CONCURRENCY_MAX,
            "set how many tasks this worker runs at once",
        )?;
        within(
            "cpu-threads",
            &self.cpu_threads,
            1..=CPU_THREADS_MAX,
            "set about one thread a core",
        )?;
        within(
            "process-concurrency",
            &self.process_concurrency,
            1..=PROCESS_CONCURRENCY_MAX,
            "set about one process a core",
        )?;
        at_least(
            "process-memory",
            self.process_memory,
            PROCESS_MEMORY_MIN,
            size_text,
            "set what a body needs and what the program has by itself, or leave it out for no limit",
        )?;
        at_least(
            "max-tasks-per-child",
            Some(self.max_tasks_per_child),
            1,
            |runs| runs.to_string(),
            "set 1 for a process of its own for each run",
        )?;
        span_within(
            "process-idle",
            self.process_idle,
            Duration::ZERO,
            PROCESS_IDLE_MAX,
            "set how long a process may wait for the next run",
        )?;
        at_least(
            "max-tasks",
            self.max_tasks,
            1,
            |tasks| tasks.to_string(),
            "set after how many runs another process shall take over, or leave it out for no limit",
        )?;
        self.check_dead_letters()?;
        if let Some(prefetch) = self.prefetch {
            within(
                "prefetch",
                &prefetch,
                1..=PREFETCH_MAX,
                "set 1 for fair sharing, or leave it out to adapt to run times",
            )?;
        }
        span_within(
            "lease",
            self.lease,
            LEASE_MIN,
            LEASE_MAX,
            "set the longest silence after which others may run this worker's tasks",
        )?;
        span_within(
            "shutdown-grace",
            self.shutdown_grace,
            Duration::ZERO,
            SHUTDOWN_GRACE_MAX,
            "set a little less than what the supervisor waits before it kills",
        )
    }

    /// A worker that has reached its limit when it starts would run nothing, end, and be started again, for ever.
    pub(crate) fn check_max_rss(&self) -> Result<(), SettingsError> {
        let Some(most) = self.max_rss else {
            return Ok(());
        };
        let (limit, advice) = match rss_bytes() {
            None => (
                String::from("left out on this system"),
                "only Linux tells a process what memory it uses",
            ),
            Some(used) if most <= used => (
                format!("more than {}", size_text(used.next_multiple_of(mib(1)))),
                "this program uses that already, and its worker would end at once",
            ),
            Some(_) => return Ok(()),
        };
        Err(SettingsError {
            setting: "max-rss",
            value: size_text(most),
            limit,
            advice,
        })
    }

    fn check_dead_letters(&self) -> Result<(), SettingsError> {
        let kept = self.dead_letters.unwrap_or_default();
        at_least(
            "dead-letters-max",
            kept.count,
            1,
            |count| count.to_string(),
            "with less every task that fails for good vanishes at once; `all` keeps all",
        )?;
        at_least(
            "dead-letters-age",
            kept.age,
            DEAD_LETTERS_AGE_MIN,
            |age| format!("{age:?}"),
            "set how long somebody may take to look at a task that failed for good",
        )?;
        at_least(
            "dead-letters-bytes",
            kept.bytes,
            DEAD_LETTERS_BYTES_MIN,
            size_text,
            "with less a large task that fails for good may vanish at once",
        )
    }
}

fn within<N: PartialOrd + fmt::Display>(
    setting: &'static str,
    value: &N,
    limits: std::ops::RangeInclusive<N>,
    advice: &'static str,
) -> Result<(), SettingsError> {
    if limits.contains(value) {
        return Ok(());
    }
    Err(SettingsError {
        setting,
        value: value.to_string(),
        limit: format!("{} to {}", limits.start(), limits.end()),
        advice,
    })
}

/// `None` is no limit.
fn at_least<N: PartialOrd>(
    setting: &'static str,
    value: Option<N>,
    least: N,
    show: impl Fn(N) -> String,
    advice: &'static str,
) -> Result<(), SettingsError> {
    match value {
        Some(value) if value < least => Err(SettingsError {
            setting,
            value: show(value),
            limit: format!("at least {}", show(least)),
            advice,
        }),
        _ => Ok(()),
    }
}

fn span_within(
    setting: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
    advice: &'static str,
) -> Result<(), SettingsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SettingsError {
        setting,
        value: format!("{value:?}"),
        limit: format!("{least:?} to {most:?}"),
        advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: Option<u64>, age: Option<Duration>, bytes: Option<u64>) -> Retention {
        Retention { count, age, bytes }
    }

    #[test]
    fn settings_out_of_their_limits_are_refused_with_value_and_limit() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        for (error, part) in [
            (
                with(|s| s.concurrency = 0),
                "concurrency is 0, it must be 1 to 65536; set",
            ),
            (
                with(|s| s.cpu_threads = 5000),
                "cpu-threads is 5000, it must be 1 to 1024",
            ),
            (
                with(|s| s.lease = ms(1)),
                "lease is 1ms, it must be 300ms to 3600s",
            ),
            (
                with(|s| s.prefetch = Some(0)),
                "prefetch is 0, it must be 1 to 1000",
            ),
            (
                with(|s| s.shutdown_grace = Duration::MAX),
                "it must be 0ns to 86400s",
            ),
            (
                with(|s| s.process_memory = Some(mib(1))),
                "process-memory is 1MiB, it must be at least 16MiB; set",
            ),
            (
                with(|s| s.dead_letters = Some(kept(Some(0), None, None))),
                "dead-letters-max is 0, it must be at least 1; with less",
            ),
            (
                with(|s| s.dead_letters = Some(kept(None, Some(ms(999)), None))),
                "dead-letters-age is 999ms, it must be at least 1s; set",
            ),
            (
                with(|s| s.dead_letters = Some(kept(None, None, Some(mib(7))))),
                "dead-letters-bytes is 7MiB, it must be at least 8MiB; with less",
            ),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_limit_of_memory_is_refused_only_where_it_is_reached_already() {
        let with = |max_rss| Settings {
            max_rss: Some(max_rss),
            ..Settings::default()
        };
        let error = with(mib(1)).check_max_rss().unwrap_err().to_string();
        assert!(
            error.contains("max-rss is 1MiB, it must be more than "),
            "{error}"
        );
        assert_eq!(
            with(mib(1)).check(),
            Ok(()),
            "a child process has other memory"
        );
        let used = rss_bytes().unwrap();
        assert_eq!(with(used + used / 4).check_max_rss(), Ok(()));
    }
}
