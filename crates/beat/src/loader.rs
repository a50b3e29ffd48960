//! Brings the sources of a beat to the broker: at its start, when they are read again, and when the broker has lost
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{Schedules, ms, secs};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::entry::Origin;
use crate::sources::{self, Applied, Source, SourceError};
use crate::stats::Shared;
use crate::trouble::backoff;

/// The span between two attempts to apply a source while the broker does not work.
const RETRY_MIN: Duration = ms(200);
const RETRY_MAX: Duration = secs(10);
/// When a source is tried again that was refused at the start.
const REFUSED_AGAIN: Duration = secs(10);

/// A source to apply, and who waits for what comes of it.
pub(crate) type Reload = (Source, oneshot::Sender<Result<Applied, SourceError>>);

/// Applies sources, one after the other.
pub(crate) struct Loader<B> {
    broker: B,
    shared: Arc<Shared>,
    /// What applies.
    loaded: BTreeMap<Origin, Source>,
    /// What was refused at the start. A name that belongs to somebody else may become free, as one does that moves from
    /// a file to the code.
    refused: BTreeMap<Origin, Source>,
    errors: BTreeMap<Origin, String>,
}

/// When a source is to be applied.
#[derive(Clone, Copy)]
enum Where {
    Anyway,
    /// Only where the broker has nothing of its origin.
    Lost,
}

impl<B: Schedules> Loader<B> {
    pub(crate) fn new(broker: B, shared: Arc<Shared>) -> Self {
        Self {
            broker,
            shared,
            loaded: BTreeMap::new(),
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Runs until nobody can have anything reloaded. `epochs` changes whenever this beat takes the lead.
    pub(crate) async fn run(
        mut self,
        sources: Vec<Source>,
        mut reloads: mpsc::Receiver<Reload>,
        mut epochs: watch::Receiver<u64>,
    ) {
        for source in sources {
            self.begin_with(source).await;
        }
        loop {
            tokio::select! {
                biased;
                reload = reloads.recv() => {
                    let Some((source, answer)) = reload else { return };
                    // Whoever asked may have gone.
                    let _ = answer.send(self.reload(source).await);
                }
                Ok(()) = epochs.changed() => self.restore_all().await,
                () = sleep(REFUSED_AGAIN), if !self.refused.is_empty() => self.try_refused().await,
            }
        }
    }

    async fn begin_with(&mut self, source: Source) {
        let origin = source.origin.clone();
        match self.apply(&source).await {
            Ok(_) => {
                self.loaded.insert(origin, source);
            }
            Err(error) => {
                tracing::error!(%origin, %error, "schedules do not apply; what was stored before goes on");
                self.refused.insert(origin, source);
            }
        }
    }

    async fn reload(&mut self, source: Source) -> Result<Applied, SourceError> {
        // Whatever becomes of it, it takes the place of one that never applied.
        self.refused.remove(&source.origin);
        let applied = self.apply(&source).await?;
        self.loaded.insert(source.origin.clone(), source);
        Ok(applied)
    }

    async fn try_refused(&mut self) {
        for (origin, source) in std::mem::take(&mut self.refused) {
            let applies = self.apply(&source).await.is_ok();
            let now = if applies {
                &mut self.loaded
            } else {
                &mut self.refused
            };
            now.insert(origin, source);
        }
    }

    /// Brings back what the broker has lost. A part is no loss: a newer beat has removed the rest.
    async fn restore_all(&mut self) {
        for source in self.loaded.values() {
            let origin = &source.origin;
            match self.when_there(source, Where::Lost).await {
                Ok(None) => {}
                Ok(Some(Applied { added, .. })) => {
                    tracing::warn!(%origin, added, "the broker had lost all schedules; they are there again");
                }
                Err(error) => tracing::error!(%origin, %error, "lost schedules do not apply"),
            }
        }
    }

    async fn apply(&mut self, source: &Source) -> Result<Applied, SourceError> {
        let origin = &source.origin;
        let applied = self.when_there(source, Where::Anyway).await;
        match &applied {
            Ok(applied) => {
                self.errors.remove(origin);
                let applied = applied.unwrap_or_default();
                let Applied {
                    added,
                    changed,
                    removed,
                    unchanged,
                } = applied;
                if applied == Applied::default() {
                    // A program without schedules of its own removes those that it had. Mostly it had none.
                    tracing::debug!(%origin, "there are no schedules");
                } else {
                    tracing::info!(%origin, added, changed, removed, unchanged, "schedules apply");
                }
            }
            Err(error) => {
                self.errors.insert(origin.clone(), error.to_string());
            }
        }
        // One that applies says nothing of the others.
        let errors: Vec<&str> = self.errors.values().map(String::as_str).collect();
        self.shared.stats().source_error = (!errors.is_empty()).then(|| errors.join("; "));
        Ok(applied?.unwrap_or_default())
    }

    /// Applies a source as soon as the broker works; `None` if it need not be.
    async fn when_there(
        &self,
        source: &Source,
        needed: Where,
    ) -> Result<Option<Applied>, SourceError> {
        let (mut failures, begun) = (0, Instant::now());
        loop {
            let tried = match needed {
                Where::Anyway => sources::apply(&self.broker, source).await.map(Some),
                Where::Lost => sources::apply_if_lost(&self.broker, source).await,
            };
            match tried {
                Err(error @ (SourceError::Broker(_) | SourceError::Contended { .. })) => {
                    self.shared.error();
                    if failures == 0 {
                        tracing::warn!(origin = %source.origin, %error, "schedules do not apply yet; trying again");
                    }
                    sleep(backoff(failures, RETRY_MIN, RETRY_MAX)).await;
                    failures = failures.saturating_add(1);
                }
                done => {
                    tracing::debug!(failures, took = ?begun.elapsed(), "tried a source");
                    return done;
                }
            }
        }
    }
}
