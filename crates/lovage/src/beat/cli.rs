//! A beat as a program of its own.

use clap::Parser;
use lovage_beat::PeriodicDef;
use lovage_beat::cli::{Args, looked_at, run_connecting};
use lovage_core::{Registry, RegistryError};

use super::linked;
use crate::reach::connect_by;

/// Runs a beat for the schedules in the code that is linked into this program, by its command line, until a signal ends
/// it.
///
/// This is all of a beat's `main`; a crate with schedules that nothing else names is linked by `use my_tasks as _;`:
///
/// ```no_run
/// # mod my_tasks { #[lovage::periodic(every = lovage::secs(30))] #[lovage::task] pub async fn tick() {} }
/// use my_tasks as _;
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     lovage::beat::run_cli().await
/// }
/// ```
///
/// `--help` lists the flags: where the broker is, which schedule file. Each is an environment variable as well, and may
/// stand in a TOML file. `--list`, `--explain NAME` and `--check FILE` answer a question instead.
///
/// # Errors
/// A configuration, a schedule in the code or a schedule file that makes no sense, a broker that refuses until somebody
/// acts. One that cannot be reached is waited for.
pub async fn run_cli() -> anyhow::Result<()> {
    Cli::new().run().await
}

/// [`run_cli`] with what it runs for said one by one.
#[derive(Debug, Default)]
#[must_use = "nothing runs until run() is awaited"]
pub struct Cli {
    registry: Option<Registry>,
    periodic: Option<Vec<PeriodicDef>>,
}

impl Cli {
    /// A beat for all schedules and tasks linked into this program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows these tasks, whose own options count for the schedules of a file, instead of those linked into this program.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Fires these schedules instead of those that are linked into this program.
    #[doc(hidden)]
    pub fn periodic(mut self, defs: impl IntoIterator<Item = PeriodicDef>) -> Self {
        self.periodic = Some(defs.into_iter().collect());
        self
    }

    /// Reads the command line and runs the beat until a signal ends it; see [`run_cli`].
    pub async fn run(self) -> anyhow::Result<()> {
        let args = Args::parse().resolve()?;
        let tasks = match self.registry {
            Some(registry) => registry,
            None => match Registry::linked().build() {
                // A schedule names its task; what the task is, only the worker has to know.
                Err(RegistryError::Empty) => Registry::default(),
                built => built?,
            },
        };
        let broker = args.broker.clone();
        let connect = async || connect_by(&broker).await.map(looked_at);
        let periodic = self.periodic.unwrap_or_else(linked);
        run_connecting(args, connect, tasks, periodic).await
    }
}
