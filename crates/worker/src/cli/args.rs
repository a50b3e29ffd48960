//! Flags, environment variables and the file, under the same names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use lovage_core::Retention;
use lovage_process::config::{
    FileError, parse_size, parse_span, read_file, size_in_file, span_in_file,
};
use lovage_process::{BrokerArgs, LogFormat};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::settings::{Queues, QueuesError, Settings, SettingsError};

/// Claims tasks and runs them.
///
/// Each flag can be set by its environment variable and, under the same name, in the file that --config names; a flag
/// counts before the environment, the environment before the file.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[command(
    name = "worker",
    version,
    after_help = "Exit codes: 0 if a signal ended it, or a limit of its own; 1 if somebody must act, such as on a wrong \
                  password or a setting out of its limits; 2 if the flags make no sense."
)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Args {
    /// Where the broker is and how it is reached.
    #[command(flatten)]
    #[serde(skip)]
    pub broker: BrokerArgs,
    /// Queues with weights (mail:3,default:1) or in strict order (mail,default) [default: those of the linked tasks].
    /// One with tasks of several lanes is claimed from for the narrowest: best give each lane its own
    #[arg(long, env = "LOVAGE_QUEUES", value_name = "QUEUES")]
    #[serde(deserialize_with = "queues_in_file")]
    pub queues: Option<Queues>,
    /// How many async bodies, and as many blocking ones, run at once [default: 100]
    #[arg(long, env = "LOVAGE_CONCURRENCY", value_name = "N")]
    pub concurrency: Option<usize>,
    /// How many cpu bodies run at once [default: one a core]
    #[arg(long, env = "LOVAGE_CPU_THREADS", value_name = "N")]
    pub cpu_threads: Option<usize>,
    /// How many child processes run bodies of the process lane at once [default: one a core]
    #[arg(long, env = "LOVAGE_PROCESS_CONCURRENCY", value_name = "N")]
    pub process_concurrency: Option<usize>,
    /// The most memory of such a process, unless its task says, for example 512MiB [default: no limit]
    #[arg(long, env = "LOVAGE_PROCESS_MEMORY", value_name = "SIZE", value_parser = parse_size)]
    #[serde(deserialize_with = "size_in_file")]
    pub process_memory: Option<u64>,
    /// How many runs such a process has before another takes its place [default: 100]
    #[arg(long, env = "LOVAGE_MAX_TASKS_PER_CHILD", value_name = "N")]
    pub max_tasks_per_child: Option<u32>,
    /// How long such a process may be idle before it is ended [default: 60s]
    #[arg(long, env = "LOVAGE_PROCESS_IDLE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub process_idle: Option<Duration>,
    /// How many tasks to hold a slot, the running one included; 1 shares fairly [default: adapts to run times]
    #[arg(long, env = "LOVAGE_PREFETCH", value_name = "N")]
    pub prefetch: Option<u16>,
    /// The silence after which others may run this worker's tasks [default: 15s]
    #[arg(long, env = "LOVAGE_LEASE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub lease: Option<Duration>,
    /// How long runs may go on after SIGTERM [default: 25s]
    #[arg(long, env = "LOVAGE_SHUTDOWN_GRACE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub shutdown_grace: Option<Duration>,
    /// How long a task that cannot be run is put off: one that this worker does not know is buried then, and a child
    /// process that does not start counts as a failure [default: 10m]
    #[arg(long, env = "LOVAGE_UNKNOWN_TASK_GRACE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub unknown_task_grace: Option<Duration>,
    /// How many dead letters each queue keeps, or `all`; beyond it the oldest are cut, and counted. Set for its queues when
    /// the worker starts, with --dead-letters-age and --dead-letters-bytes [default: as it is set, at first all]
    #[arg(long, env = "LOVAGE_DEAD_LETTERS_MAX", value_name = "N")]
    #[serde(deserialize_with = "kept_in_file")]
    pub dead_letters_max: Option<Kept>,
    /// How long each queue keeps a dead letter, for example 30d. Set as --dead-letters-max is [default: as that]
    #[arg(long, env = "LOVAGE_DEAD_LETTERS_AGE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub dead_letters_age: Option<Duration>,
    /// How much the dead letters of a queue may take together, for example 100MiB. Set as --dead-letters-max is
    /// [default: as that]
    #[arg(long, env = "LOVAGE_DEAD_LETTERS_BYTES", value_name = "SIZE", value_parser = parse_size)]
    #[serde(deserialize_with = "size_in_file")]
    pub dead_letters_bytes: Option<u64>,
    /// After how many runs the worker drains and ends with status 0, for another to take its place [default: no limit]
    #[arg(long, env = "LOVAGE_MAX_TASKS", value_name = "N")]
    pub max_tasks: Option<u64>,
    /// With how much memory in RAM the worker drains and ends with status 0, for another to take its place, for example
    /// 2GiB; child processes do not count [default: no limit]
    #[arg(long, env = "LOVAGE_MAX_RSS", value_name = "SIZE", value_parser = parse_size)]
    #[serde(deserialize_with = "size_in_file")]
    pub max_rss: Option<u64>,
    /// What operators call this worker [default: worker]
    #[arg(long, env = "LOVAGE_NAME", value_name = "LABEL")]
    pub name: Option<String>,
    /// Which build of the program this is, for reports and the ledger of losses [default: none is told]
    #[arg(long, env = "LOVAGE_BUILD", value_name = "LABEL")]
    pub build: Option<String>,
    /// Where to serve /livez and /readyz, for example 127.0.0.1:8080 [default: nowhere]
    #[arg(long, env = "LOVAGE_HEALTH", value_name = "ADDR")]
    pub health: Option<SocketAddr>,
    /// How logs look [default: text]
    #[arg(long, env = "LOVAGE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A TOML file with any of the settings above
    #[arg(long, env = "LOVAGE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// How many dead letters a queue keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Whatever their number.
    All,
    /// So many.
    AtMost(u64),
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let number = text.parse().map(Self::AtMost);
        number.map_err(|_| format!("{text:?} is no number; write how many are kept, or all"))
    }
}

/// Why a configuration makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or makes no sense.
    #[error(transparent)]
    File(#[from] FileError),
    /// A setting is out of its limits.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The queues make no sense.
    #[error(transparent)]
    Queues(#[from] QueuesError),
}

impl Args {
    /// Fills in from the file what neither a flag nor the environment has set, and checks everything.
    pub fn resolve(mut self) -> Result<Self, ConfigError> {
        if let Some(path) = self.config.take() {
            let (broker, own) = read_file(&path)?;
            self = self.over(Self { broker, ..own });
        }
        self.settings().check()?;
        if let Some(queues) = &self.queues {
            queues.check()?;
        }
        Ok(self)
    }

    /// How logs look.
    pub fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }

    /// The worker's settings, defaults filled in.
    pub fn settings(&self) -> Settings {
        let default = Settings::default();
        let retention = Retention {
            count: match self.dead_letters_max {
                Some(Kept::AtMost(count)) => Some(count),
                Some(Kept::All) | None => None,
            },
            age: self.dead_letters_age,
            bytes: self.dead_letters_bytes,
        };
        let is_set = self.dead_letters_max.is_some() || !retention.is_unlimited();
        Settings {
            queues: self.queues.clone(),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            cpu_threads: self.cpu_threads.unwrap_or(default.cpu_threads),
            process_concurrency: self
                .process_concurrency
                .unwrap_or(default.process_concurrency),
            process_memory: self.process_memory,
            max_tasks_per_child: self
                .max_tasks_per_child
                .unwrap_or(default.max_tasks_per_child),
            process_idle: self.process_idle.unwrap_or(default.process_idle),
            process_lane: default.process_lane,
            lease: self.lease.unwrap_or(default.lease),
            shutdown_grace: self.shutdown_grace.unwrap_or(default.shutdown_grace),
            max_tasks: self.max_tasks,
            max_rss: self.max_rss,
            name: self.name.clone().unwrap_or(default.name),
            build: self.build.clone(),
            unknown_task_grace: self
                .unknown_task_grace
                .unwrap_or(default.unknown_task_grace),
            prefetch: self.prefetch,
            dead_letters: is_set.then_some(retention),
        }
    }

    fn over(self, under: Self) -> Self {
        Self {
            broker: self.broker.over(under.broker),
            queues: self.queues.or(under.queues),
            concurrency: self.concurrency.or(under.concurrency),
            cpu_threads: self.cpu_threads.or(under.cpu_threads),
            process_concurrency: self.process_concurrency.or(under.process_concurrency),
            process_memory: self.process_memory.or(under.process_memory),
            max_tasks_per_child: self.max_tasks_per_child.or(under.max_tasks_per_child),
            process_idle: self.process_idle.or(under.process_idle),
            prefetch: self.prefetch.or(under.prefetch),
            lease: self.lease.or(under.lease),
            shutdown_grace: self.shutdown_grace.or(under.shutdown_grace),
            unknown_task_grace: self.unknown_task_grace.or(under.unknown_task_grace),
            dead_letters_max: self.dead_letters_max.or(under.dead_letters_max),
            dead_letters_age: self.dead_letters_age.or(under.dead_letters_age),
            dead_letters_bytes: self.dead_letters_bytes.or(under.dead_letters_bytes),
            max_tasks: self.max_tasks.or(under.max_tasks),
            max_rss: self.max_rss.or(under.max_rss),
            name: self.name.or(under.name),
            build: self.build.or(under.build),
            health: self.health.or(under.health),
            log_format: self.log_format.or(under.log_format),
            config: self.config.or(under.config),
        }
    }
}

/// A number, or a text as of the flag.
fn kept_in_file<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Kept>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(value)? {
        Written::Number(count) => Ok(Some(Kept::AtMost(count))),
        Written::Text(text) => text.parse().map(Some).map_err(D::Error::custom),
    }
}

fn queues_in_file<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Queues>, D::Error> {
    let text = String::deserialize(value)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::{mins, secs};

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let words = std::iter::once("worker").chain(flags.iter().copied());
        let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        args.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_settings() {
        let args = parse(&[
            "--broker",
            "redis://db",
            "--queues",
            "mail:3,default:1",
            "--concurrency",
            "7",
            "--cpu-threads",
            "3",
            "--process-concurrency",
            "2",
            "--process-memory",
            "512MiB",
            "--max-tasks-per-child",
            "5",
            "--process-idle",
            "10s",
            "--lease",
            "20s",
            "--shutdown-grace",
            "2m",
            "--name",
            "eu-1",
            "--prefetch",
            "1",
            "--dead-letters-max",
            "500",
            "--dead-letters-age",
            "30d",
            "--dead-letters-bytes",
            "100MiB",
            "--log-format",
            "json",
            "--health",
            "127.0.0.1:0",
        ])
        .unwrap();
        let settings = args.settings();
        assert_eq!(args.broker.url(), "redis://db");
        assert_eq!(settings.queues.unwrap().to_string(), "mail:3,default:1");
        assert_eq!((settings.concurrency, settings.cpu_threads), (7, 3));
        assert_eq!(
            (settings.process_concurrency, settings.process_memory),
            (2, Some(512 << 20))
        );
        assert_eq!(
            (settings.max_tasks_per_child, settings.process_idle),
            (5, secs(10))
        );
        assert_eq!(
            (settings.lease, settings.shutdown_grace),
            (secs(20), mins(2))
        );
        assert_eq!(
            (settings.name.as_str(), settings.prefetch),
            ("eu-1", Some(1))
        );
        let kept = settings.dead_letters.unwrap();
        let expected = Retention {
            count: Some(500),
            age: Some(mins(30 * 24 * 60)),
            bytes: Some(100 << 20),
        };
        assert_eq!(kept, expected);
        assert_eq!(args.log_format(), LogFormat::Json);
    }

    #[test]
    fn bad_values_are_refused_with_value_limit_and_advice() {
        for (flags, parts) in [
            (
                ["--lease", "15"],
                ["\"15\" is not a span", "15s, 2m, 1h or 30d"],
            ),
            (
                ["--lease", "1ms"],
                ["lease is 1ms, it must be 300ms to", "longest silence"],
            ),
            (
                ["--concurrency", "0"],
                ["concurrency is 0, it must be 1 to 65536", "at once"],
            ),
            (["--concurrency", "many"], ["'many'", "--concurrency"]),
            (["--queues", "mail:0"], ["\"0\"", "from 1 to 1000"]),
            (["--queues", "a b"], ["' '", "ASCII letters"]),
            (
                ["--dead-letters-max", "0"],
                [
                    "dead-letters-max is 0, it must be at least 1",
                    "`all` keeps all",
                ],
            ),
            (
                ["--dead-letters-max", "many"],
                ["\"many\" is no number", "or all"],
            ),
            (["--log-format", "xml"], ["'xml'", "text, json"]),
            (["--health", "8080"], ["'8080'", "--health"]),
            (
                ["--config", "/nowhere/at/all"],
                ["/nowhere/at/all", "check --config"],
            ),
        ] {
            let error = parse(&flags).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{flags:?}: {error}");
            }
        }
    }

    #[test]
    fn a_queue_is_told_to_keep_all_its_dead_letters() {
        let told = |flags: &[&str]| parse(flags).unwrap().settings().dead_letters;
        assert_eq!(told(&[]), None);
        let all = Some(Retention::default());
        assert_eq!(told(&["--dead-letters-max", "all"]), all);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (text, expected) in [("\"all\"", None), ("7", Some(7)), ("\"7\"", Some(7))] {
            std::fs::write(&file, format!("dead-letters-max = {text}")).unwrap();
            let told = told(&["--config", path]).unwrap();
            assert_eq!(told.count, expected, "{text}");
        }
    }

    #[test]
    fn a_flag_counts_before_the_file_and_the_file_before_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "queues = \"mail,default\"\nconcurrency = 9\nlease = \"30s\"\nlog-format = \"json\"\n";
        std::fs::write(&file, text).unwrap();
        let path = file.path().to_str().unwrap();

        let args = parse(&["--config", path, "--concurrency", "4"]).unwrap();
        let settings = args.settings();
        assert_eq!(settings.concurrency, 4, "the flag");
        assert_eq!(settings.lease, secs(30), "the file");
        assert_eq!(settings.queues.unwrap().to_string(), "mail,default");
        assert_eq!(args.log_format(), LogFormat::Json);
        assert_eq!(settings.shutdown_grace, secs(25), "the default");
    }

    #[test]
    fn a_file_with_a_wrong_name_or_value_is_refused_with_the_place() {
        for (text, part) in [
            ("concurency = 9", "concurency"),
            ("lease = 15", "string"),
            ("lease = \"15\"", "is not a span"),
            ("queues = \"mail:3,default\"", "give every queue a weight"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, text).unwrap();
            let error = parse(&["--config", file.path().to_str().unwrap()]).unwrap_err();
            assert!(
                error.contains(part) && error.contains("line 1"),
                "{text}: {error}"
            );
        }
    }
}
