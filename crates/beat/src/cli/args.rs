//! Flags, environment variables and the file, under the same names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use lovage_process::config::{FileError, parse_span, read_file, span_in_file};
use lovage_process::{BrokerArgs, LogFormat};
use serde::Deserialize;

use crate::beat::{BeatError, LEASE_DEFAULT, LEASE_MAX, LEASE_MIN};

/// How many next runs --explain tells unless told otherwise.
const COUNT_DEFAULT: usize = 10;
/// The most that can be asked for.
const COUNT_MAX: usize = 1000;

/// Fires schedules, or answers a question about them.
///
/// Any number of beats may run on one broker: one leads, the others stand by. Each flag but the questions can be set by
/// its environment variable and, under the same name, in the file that --config names; a flag counts before the
/// environment, the environment before the file.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[command(
    name = "beat",
    version,
    after_help = "Exit codes: 0 if it was ended by a signal, or the question was answered; 1 if somebody must act, \
                  such as on a schedule file that is refused; 2 if the flags make no sense."
)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Args {
    /// Where the broker is and how it is reached.
    #[command(flatten)]
    #[serde(skip)]
    pub broker: BrokerArgs,
    /// A TOML file of schedules, read again when it changes and on SIGHUP. Beats with a file of the same name share its
    /// schedules
    #[arg(long, env = "LOVAGE_SCHEDULES", value_name = "FILE")]
    pub schedules: Option<PathBuf>,
    /// The silence after which another beat fires in place of this one [default: 5s]
    #[arg(long, env = "LOVAGE_LEASE", value_name = "SPAN", value_parser = parse_span)]
    #[serde(deserialize_with = "span_in_file")]
    pub lease: Option<Duration>,
    /// The name of the application whose code has the schedules: beats of one name share them [default: the program's
    /// name]
    #[arg(long, env = "LOVAGE_NAME", value_name = "NAME")]
    pub name: Option<String>,
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
    /// Prints all schedules with their next runs, and ends
    #[arg(long, group = "question", help_heading = "Questions")]
    #[serde(skip)]
    pub list: bool,
    /// Prints the next runs of a schedule and what became of the last ones, and ends
    #[arg(
        long,
        value_name = "NAME",
        group = "question",
        help_heading = "Questions"
    )]
    #[serde(skip)]
    pub explain: Option<String>,
    /// How many runs --explain prints of each [default: 10]
    #[arg(
        long,
        value_name = "N",
        requires = "explain",
        help_heading = "Questions"
    )]
    #[serde(skip)]
    pub count: Option<usize>,
    /// Reads a schedule file, prints the next runs of its schedules or all that is wrong with it, and ends. Needs no
    /// broker
    #[arg(
        long,
        value_name = "FILE",
        group = "question",
        help_heading = "Questions"
    )]
    #[serde(skip)]
    pub check: Option<PathBuf>,
    /// Answers the question in JSON
    #[arg(long, requires = "question", help_heading = "Questions")]
    #[serde(skip)]
    pub json: bool,
}

/// What is asked instead of running.
pub(super) enum Question<'a> {
    List,
    Explain(&'a str),
    Check(&'a Path),
}

/// Why a configuration makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or makes no sense.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lease is out of its limits.
    #[error(transparent)]
    Lease(#[from] BeatError),
    /// The count is out of its limits.
    #[error("count is {count}, it must be 1 to {COUNT_MAX}")]
    Count {
        /// The refused number.
        count: usize,
    },
}

impl Args {
    /// Fills in from the file what neither a flag nor the environment has set, and checks everything.
    pub fn resolve(mut self) -> Result<Self, ConfigError> {
        if let Some(path) = self.config.take() {
            let (broker, own) = read_file(&path)?;
            self = self.over(Self { broker, ..own });
        }
        let lease = self.lease();
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(BeatError::Lease { lease }.into());
        }
        let count = self.count();
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(ConfigError::Count { count });
        }
        Ok(self)
    }

    /// The silence after which another beat leads.
    pub fn lease(&self) -> Duration {
        self.lease.unwrap_or(LEASE_DEFAULT)
    }

    /// How logs look.
    pub fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }

    /// The name of the application: the program's, unless one is set.
    pub fn app(&self) -> String {
        let named = self.name.clone().filter(|name| !name.is_empty());
        named.unwrap_or_else(crate::periodic::program_name)
    }

    pub(super) fn count(&self) -> usize {
        self.count.unwrap_or(COUNT_DEFAULT)
    }

    pub(super) fn question(&self) -> Option<Question<'_>> {
        let explain = || self.explain.as_deref().map(Question::Explain);
        let check = || self.check.as_deref().map(Question::Check);
        self.list
            .then_some(Question::List)
            .or_else(explain)
            .or_else(check)
    }

    fn over(self, under: Self) -> Self {
        Self {
            broker: self.broker.over(under.broker),
            schedules: self.schedules.or(under.schedules),
            lease: self.lease.or(under.lease),
            name: self.name.or(under.name),
            health: self.health.or(under.health),
            log_format: self.log_format.or(under.log_format),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::secs;

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let words = std::iter::once("beat").chain(flags.iter().copied());
        let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        args.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_counts_before_the_file_and_the_file_before_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "broker = \"redis://db\"\nlease = \"3s\"\nschedules = \"/etc/schedules.toml\"\n";
        std::fs::write(&file, text).unwrap();
        let path = file.path().to_str().unwrap();
        let args = parse(&["--config", path, "--lease", "4s"]).unwrap();
        assert_eq!(args.lease(), secs(4), "the flag");
        assert_eq!(args.broker.url(), "redis://db", "the file");
        assert_eq!(args.broker.namespace(), "lovage", "the default");
        assert_eq!(
            args.schedules.as_deref(),
            Some(Path::new("/etc/schedules.toml"))
        );
    }

    #[test]
    fn an_application_without_a_name_is_called_as_its_program() {
        let program = crate::periodic::program_name();
        for (flags, name) in [
            (&[][..], &*program),
            (&["--name", ""], &program),
            (&["--name", "a"], "a"),
        ] {
            assert_eq!(parse(flags).unwrap().app(), name, "{flags:?}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_value_and_limit() {
        for (flags, parts) in [
            (&["--lease", "5"][..], ["\"5\" is not a span", "15s"]),
            (&["--lease", "1ms"], ["1ms", "300ms"]),
            (&["--list", "--check", "f"], ["--list", "--check"]),
            (&["--count", "3"], ["--explain", "required"]),
            (&["--explain", "a", "--count", "0"], ["count is 0", "1000"]),
            (&["--json"], ["required", "--list"]),
            (&["--log-format", "xml"], ["'xml'", "text, json"]),
        ] {
            let error = parse(flags).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{flags:?}: {error}");
            }
        }
    }
}
