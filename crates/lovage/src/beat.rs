//! Schedules: a client's handle on them, and the beat that fires them, inside a program or as one of its own.
//!
//! A schedule stands in the code ([`#[periodic]`](macro@crate::periodic)), in a file that a beat is given, or is made
//! at run time ([`Client::schedules`]). Any number of beats run; each occurrence becomes one task.

mod cli;
mod schedules;

use std::time::Duration;

use lovage_beat::{Beat, PeriodicDef, Source, program_name};
use lovage_core::inventory;

use crate::client::Client;

pub use cli::{Cli, run_cli};
pub use lovage_beat::{
    BeatError, Entry, Fate, Firing, LastRun, LinkedError, Origin, Reason, Record, RecordError,
    RunningBeat, ScheduleError, Standing, State, Stats, TimetableError, Upserted,
};
pub use lovage_core::{Looked, ScheduleName};
pub use schedules::{Schedules, SchedulesError};

/// A beat inside this program that is being put together: see [`Client::beat`].
#[derive(Debug)]
#[must_use = "nothing fires until it is started"]
pub struct BeatBuilder {
    client: Client,
    name: Option<String>,
    lease: Option<Duration>,
    periodic: Option<Vec<PeriodicDef>>,
}

/// Why a beat did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Schedules in the code make no sense: all of them, with their places.
    #[error(transparent)]
    Periodic(#[from] LinkedError),
    /// It is set up with what cannot be.
    #[error(transparent)]
    Beat(#[from] BeatError),
}

impl Client {
    /// Starts to put together a beat on this client's broker, for all schedules in the code that is linked into this
    /// program. It fires those of files and those made at run time as well.
    ///
    /// ```standalone_crate
    /// # use lovage::prelude::*;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static TICKS: AtomicU32 = AtomicU32::new(0);
    ///
    /// #[periodic(every = ms(100))]
    /// #[task]
    /// async fn tick() {
    ///     TICKS.fetch_add(1, Ordering::Relaxed);
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// let client = Client::connect("memory://").await?;
    /// let worker = client.worker().start().await?;
    /// let beat = client.beat().start().await?;
    /// while TICKS.load(Ordering::Relaxed) < 3 {
    ///     tokio::time::sleep(ms(10)).await;
    /// }
    /// beat.shutdown().await;
    /// worker.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn beat(&self) -> BeatBuilder {
        BeatBuilder {
            client: self.clone(),
            name: None,
            lease: None,
            periodic: None,
        }
    }

    /// The schedules of this client's broker: those made at run time can be changed here, all others paused.
    ///
    /// ```standalone_crate
    /// # use lovage::prelude::*;
    /// #[task(queue = "reports")]
    /// async fn report(region: String) {
    /// #   drop(region);
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// let client = Client::connect("memory://").await?;
    /// let schedules = client.schedules();
    /// let nightly = Schedule::cron("0 3 * * *")?.tz("Europe/Lisbon")?;
    /// schedules.upsert("nightly", nightly, report("eu")).await?;
    /// // With options, as for a send:
    /// let sending = client.send(report("us")).priority(8).max_retries(1);
    /// schedules.upsert("nightly/us", Schedule::cron("0 8 * * *")?, sending).await?;
    ///
    /// schedules.pause("nightly").await?;
    /// let id = schedules.run_now("nightly/us").await?;
    /// assert_eq!(schedules.firings("nightly/us", 10).await?.len(), 1);
    /// assert_eq!(client.handle::<report>("reports", id)?.state().await?, lovage::Place::Ready);
    /// assert!(schedules.delete("nightly").await?);
    /// # Ok(()) }
    /// ```
    pub fn schedules(&self) -> Schedules {
        Schedules::of(self.clone())
    }
}

impl BeatBuilder {
    /// Calls the application so whose code has the schedules, instead of as the program's file. Beats of one name share
    /// their schedules: the last one that starts says which there are.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets another beat fire when this one has been silent for `span`, from 300 ms to an hour; 5 s unless set.
    pub fn lease(mut self, span: Duration) -> Self {
        self.lease = Some(span);
        self
    }

    /// Fires these schedules instead of those that are linked into this program.
    #[doc(hidden)]
    pub fn periodic(mut self, defs: impl IntoIterator<Item = PeriodicDef>) -> Self {
        self.periodic = Some(defs.into_iter().collect());
        self
    }

    /// Starts the beat on this runtime. It stops when it is dropped, or shut down, which takes half a second at most.
    ///
    /// # Errors
    /// A schedule in the code that makes no sense, or a lease out of its limits. A broker that is away is waited for.
    pub async fn start(self) -> Result<RunningBeat, StartError> {
        let name = self.name.unwrap_or_else(program_name);
        let entries = PeriodicDef::entries(self.periodic.unwrap_or_else(linked), &name)?;
        let source = Source {
            origin: Origin::Code(name),
            entries,
        };
        let beat = Beat::builder(self.client.broker().clone()).source(source);
        let beat = match self.lease {
            Some(lease) => beat.lease(lease),
            None => beat,
        };
        Ok(beat.start().await?)
    }
}

/// The schedules in the code of all crates that are linked into this program.
fn linked() -> Vec<PeriodicDef> {
    inventory::iter::<PeriodicDef>
        .into_iter()
        .copied()
        .collect()
}
