//! What can be set for a worker, with the limits of each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lovage_core::{NameError, QueueName, Retention, mib, mins, ms, secs};

use crate::limits::rss_bytes;

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
/// A Rust program needs some of it before it runs anything.
const PROCESS_MEMORY_MIN: u64 = mib(16);
const PROCESS_IDLE_MAX: Duration = mins(24 * 60);
/// Below this a renewal every third of it is lost in the noise of a busy host.
const LEASE_MIN: Duration = ms(300);
const LEASE_MAX: Duration = mins(60);
const SHUTDOWN_GRACE_MAX: Duration = mins(24 * 60);
const PREFETCH_MAX: u16 = 1_000;

/// The queues that a worker claims from, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queues {
    /// A queue is claimed from only when those before it are empty.
    Strict(Vec<QueueName>),
    /// The order is drawn anew for each round: a queue of weight 3 comes first three times as often as one of 1.
    Weighted(Vec<(QueueName, u32)>),
}

/// Why a text names no queues.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueuesError {
    /// A name is not valid.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A weight is not a number from 1 to 1000.
    #[error("queue weight {text:?} in {entry:?} is not a number from 1 to 1000")]
    Weight {
        /// What stands for the weight.
        text: String,
        /// Where it stands.
        entry: String,
    },
    /// Some queues have a weight and some have none.
    #[error(
        "{entry:?} has no weight while other queues have one; give every queue a weight (mail:3,default:1) or none (mail,default: strict order)"
    )]
    Mixed {
        /// The queue without a weight.
        entry: String,
    },
    /// A queue is named twice.
    #[error("queue {queue} is named twice; name it once")]
    Twice {
        /// The queue.
        queue: QueueName,
    },
    /// Nothing is named.
    #[error("no queue is named; name at least one, for example `default`")]
    Empty,
}

impl Queues {
    /// All of the same weight.
    pub fn even(names: impl IntoIterator<Item = QueueName>) -> Self {
        Self::Weighted(names.into_iter().map(|name| (name, 1)).collect())
    }

    /// The names, in the order given.
    pub fn names(&self) -> Vec<QueueName> {
        self.weights().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn weights(&self) -> Vec<(QueueName, u32)> {
        match self {
            Self::Strict(names) => names.iter().map(|name| (name.clone(), 1)).collect(),
            Self::Weighted(weights) => weights.clone(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), QueuesError> {
        let names = self.names();
        if names.is_empty() {
            return Err(QueuesError::Empty);
        }
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return Err(QueuesError::Twice {
                    queue: name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// `mail:3,default:1` is weighted, `mail,default` is strict. A last part of digits behind a colon is a weight.
impl FromStr for Queues {
    type Err = QueuesError;

    fn from_str(text: &str) -> Result<Self, QueuesError> {
        let mut parsed = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            parsed.push((entry, split_weight(entry)?));
        }
        let any_weight = parsed.iter().any(|(_, (_, weight))| weight.is_some());
        let queues = if any_weight {
            let weigh = |(entry, (name, weight)): (&str, (QueueName, Option<u32>))| match weight {
                Some(weight) => Ok((name, weight)),
                None => Err(QueuesError::Mixed {
                    entry: entry.to_owned(),
                }),
            };
            Self::Weighted(parsed.into_iter().map(weigh).collect::<Result<_, _>>()?)
        } else {
            Self::Strict(parsed.into_iter().map(|(_, (name, _))| name).collect())
        };
        queues.check()?;
        Ok(queues)
    }
}

fn split_weight(entry: &str) -> Result<(QueueName, Option<u32>), QueuesError> {
    match entry.rsplit_once(':') {
        Some((name, text)) if text.chars().all(|c| c.is_ascii_digit()) => {
            let weight = text
                .parse()
                .ok()
                .filter(|weight| (1..=1000).contains(weight));
            let weight = weight.ok_or_else(|| QueuesError::Weight {
                text: text.to_owned(),
                entry: entry.to_owned(),
            })?;
            Ok((QueueName::parse(name)?, Some(weight)))
        }
        _ => Ok((QueueName::parse(entry)?, None)),
    }
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weighted = matches!(self, Self::Weighted(_));
        for (place, (name, weight)) in self.weights().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
            if weighted {
                write!(f, ":{weight}")?;
            }
        }
        Ok(())
    }
}

impl From<QueueName> for Queues {
    fn from(name: QueueName) -> Self {
        Self::Strict(vec![name])
    }
}

impl From<Vec<QueueName>> for Queues {
    /// In strict order.
    fn from(names: Vec<QueueName>) -> Self {
        Self::Strict(names)
    }
}

impl<const N: usize> From<[QueueName; N]> for Queues {
    /// In strict order.
    fn from(names: [QueueName; N]) -> Self {
        Self::Strict(names.into())
    }
}

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

/// A worker's settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The queues; `None` is every queue that a task of the registry is sent to unless told otherwise, evenly.
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
    /// Checks every setting against its limits.
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
        within(
            "process-memory",
            &self.process_memory.unwrap_or(u64::MAX),
            PROCESS_MEMORY_MIN..=u64::MAX,
            "set what a body needs and what the program has by itself, or leave it out for no limit",
        )?;
        within(
            "max-tasks-per-child",
            &self.max_tasks_per_child,
            1..=u32::MAX,
            "set 1 for a process of its own for each run",
        )?;
        span_within(
            "process-idle",
            self.process_idle,
            Duration::ZERO,
            PROCESS_IDLE_MAX,
            "set how long a process may wait for the next run",
        )?;
        within(
            "max-tasks",
            &self.max_tasks.unwrap_or(1),
            1..=u64::MAX,
            "set after how many runs another process shall take over, or leave it out for no limit",
        )?;
        if let Some(limit) = self.max_rss.filter(|_| rss_bytes().is_none()) {
            return Err(SettingsError {
                setting: "max-rss",
                value: limit.to_string(),
                limit: String::from("left out on this system"),
                advice: "only Linux tells a process what memory it uses",
            });
        }
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

    #[test]
    fn queues_are_read_as_strict_or_weighted() {
        for (text, weighted, names) in [
            ("mail,default", false, "mail default"),
            ("mail:3, default:1", true, "mail default"),
            ("mail:eu", false, "mail:eu"),
            ("mail:eu:2", true, "mail:eu"),
        ] {
            let queues: Queues = text.parse().unwrap();
            assert_eq!(matches!(queues, Queues::Weighted(_)), weighted, "{text}");
            let read: Vec<_> = queues.names().iter().map(ToString::to_string).collect();
            assert_eq!(read.join(" "), names, "{text}");
        }
    }

    #[test]
    fn bad_queues_are_refused_with_what_to_do() {
        for (text, part) in [
            ("", "name at least one"),
            (",", "name at least one"),
            (
                "mail:0",
                "\"0\" in \"mail:0\" is not a number from 1 to 1000",
            ),
            ("mail:9999999999", "from 1 to 1000"),
            ("mail:3,default", "give every queue a weight"),
            ("mail,mail", "queue mail is named twice"),
            ("ma il", "' ' at byte 2"),
        ] {
            let error = text.parse::<Queues>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
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
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
