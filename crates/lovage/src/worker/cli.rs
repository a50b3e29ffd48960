//! A worker as a program of its own.

use clap::Parser;
use lovage_core::{Lane, Registry, StateNeed, States};
use lovage_worker::cli::{Args, looked_at, run_connecting, serve, serve_connecting};

use super::with_client;
use crate::any_broker::AnyBroker;
use crate::client::Client;
use crate::reach::connect_by;

/// Runs a worker for all tasks linked into this program, by its command line, until a signal ends it.
///
/// This is all of a worker's `main`; a crate of tasks that nothing else names is linked by `use my_tasks as _;`:
///
/// ```no_run
/// # mod my_tasks { #[lovage::task] pub async fn tick() {} }
/// use my_tasks as _;
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     lovage::worker::run_cli().await
/// }
/// ```
///
/// `--help` lists the flags: where the broker is, which queues, how much at once. Each is an environment variable as
/// well, and may stand in a TOML file.
///
/// # Errors
/// A configuration that makes no sense, no task, a task without its state, a broker that refuses until somebody acts
/// (a wrong password, say). One that cannot be reached is waited for.
pub async fn run_cli() -> anyhow::Result<()> {
    Cli::new().run().await
}

/// [`run_cli`] for tasks that take states.
///
/// ```no_run
/// use lovage::prelude::*;
///
/// struct Mailer;
///
/// #[task]
/// async fn welcome(name: String, mailer: State<Mailer>) {}
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     lovage::worker::Cli::new().state(Mailer).run().await
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing runs until run() is awaited"]
pub struct Cli {
    registry: Option<Registry>,
    states: States,
}

impl Cli {
    /// A worker for all tasks linked into this program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the tasks a state. Whoever takes `State<Client>` is given a client of the worker's broker without it.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states = self.states.with(value);
        self
    }

    /// Runs these tasks instead of those linked into this program.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Reads the command line and runs the worker until a signal ends it; see [`run_cli`].
    pub async fn run(self) -> anyhow::Result<()> {
        let entry = lovage_worker::entry()?;
        let args = Args::parse().resolve()?;
        let registry = match self.registry {
            Some(registry) => registry,
            None => Registry::linked().build()?,
        };
        let entry = match entry {
            // No connection to the broker for each child, unless a body may want it.
            Some(entry) if !takes_client(&registry) => {
                return serve(entry, args, registry, self.states).await;
            }
            entry => entry,
        };
        let broker = args.broker.clone();
        let connect = async || connect_by(&broker).await;
        let states =
            |broker: &AnyBroker| with_client(self.states, &Client::with_broker(broker.clone()));
        if let Some(entry) = entry {
            return serve_connecting(entry, args, connect, registry, states).await;
        }
        let connect = async || connect().await.map(looked_at);
        run_connecting(args, connect, registry, states).await
    }
}

/// Whether a task of the process lane takes `State<Client>`.
fn takes_client(registry: &Registry) -> bool {
    let client = StateNeed::of::<Client>();
    let mut tasks = registry.tasks().into_iter();
    tasks.any(|task| task.lane == Lane::Process && task.needs.contains(&client))
}
