//! A beat: its parts, and the handle on it while it runs.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::{Inspect, Schedules, hours, ms, secs};
use lovage_process::Home;
use tokio::sync::{mpsc, oneshot};

use crate::loader::{Loader, Reload};
use crate::sources::{Applied, Source, SourceError};
use crate::stats::{Shared, Stats};
use crate::ticker::Ticker;

/// The lease unless one is set: how long it takes at most until another beat fires in place of one that was killed.
pub const LEASE_DEFAULT: Duration = secs(5);
/// The shortest lease: a third of it has to be enough for the broker to answer.
pub const LEASE_MIN: Duration = ms(300);
/// The longest lease.
pub const LEASE_MAX: Duration = hours(1);
/// Sources that wait to be applied.
const RELOADS_MAX: usize = 16;

/// A beat, before it is started.
#[derive(Debug)]
pub struct Beat;

impl Beat {
    /// Starts to set up a beat for `broker`.
    pub fn builder<B: Schedules + Inspect>(broker: B) -> BeatBuilder<B> {
        BeatBuilder {
            broker,
            sources: Vec::new(),
            lease: LEASE_DEFAULT,
            home: Home::default(),
        }
    }
}

/// What a beat is set up with.
#[derive(Debug)]
pub struct BeatBuilder<B> {
    broker: B,
    sources: Vec<Source>,
    lease: Duration,
    home: Home,
}

/// Why a beat did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeatError {
    /// The lease is too short or too long.
    #[error("a lease of {lease:?} is not between {LEASE_MIN:?} and {LEASE_MAX:?}")]
    Lease {
        /// The refused span.
        lease: Duration,
    },
}

impl<B: Schedules + Inspect> BeatBuilder<B> {
    /// Has the schedules of an origin be what `source` says, and nothing beside.
    pub fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// The same for several origins.
    pub fn sources(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources.extend(sources);
        self
    }

    /// Lets another beat lead when this one has been silent for `lease`; 5 s unless set.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Runs the beat in the simulated process `home`.
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// Starts the beat on this runtime. It does not wait for the broker: sources are applied when it is there, and
    /// [`Stats::source_error`] says what is wrong with one that cannot be.
    #[expect(
        clippy::unused_async,
        reason = "starting may come to wait; callers already do"
    )]
    pub async fn start(self) -> Result<RunningBeat, BeatError> {
        let Self {
            broker,
            sources,
            lease,
            home,
        } = self;
        if lease < LEASE_MIN || LEASE_MAX < lease {
            return Err(BeatError::Lease { lease });
        }
        let shared = Arc::new(Shared::new(home));
        let (reload, reloads) = mpsc::channel(RELOADS_MAX);
        let loader = Loader::new(broker.clone(), Arc::clone(&shared));
        let epochs = shared.epochs.subscribe();
        let ticker = Ticker::new(broker, lease, Arc::clone(&shared));
        let gone = shared.gone.clone().drop_guard();
        let stop = shared.stop.clone();
        shared.home.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = loader.run(sources, reloads, epochs) => {}
            }
        });
        shared.home.spawn(async move {
            let _gone = gone;
            ticker.run().await;
        });
        Ok(RunningBeat { shared, reload })
    }
}

/// A beat at work. Dropping it stops it in the background.
#[derive(Debug)]
pub struct RunningBeat {
    shared: Arc<Shared>,
    reload: mpsc::Sender<Reload>,
}

impl RunningBeat {
    /// What it has done so far, and how it stands.
    pub fn stats(&self) -> Stats {
        self.shared.stats().clone()
    }

    /// Has the schedules of an origin be what `source` says. If that cannot be, nothing is changed and the old ones go on.
    ///
    /// Waits for the broker where it does not answer.
    ///
    /// # Errors
    /// Those of the source; where the broker fails, it is tried again instead.
    ///
    /// # Cancel safety
    /// Cancel safe: the source is applied all the same.
    pub async fn reload(&self, source: Source) -> Result<Applied, SourceError> {
        let origin = source.origin.clone();
        let (answer, answered) = oneshot::channel();
        if self.reload.send((source, answer)).await.is_err() {
            return Err(SourceError::Stopped { origin });
        }
        answered
            .await
            .unwrap_or(Err(SourceError::Stopped { origin }))
    }

    /// Stops the beat and gives up the lead, so that another one fires on at once. Takes at most half a second, whether
    /// the broker answers or not.
    ///
    /// # Cancel safety
    /// Cancel safe: it stops all the same.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.ended().await;
    }

    /// Waits until the beat has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&self) {
        self.shared.gone.cancelled().await;
    }

    /// Whether it runs: `false` once it has ended, be it by a panic of its own.
    pub fn live(&self) -> bool {
        !self.shared.gone.is_cancelled()
    }
}

impl Drop for RunningBeat {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
