//! One run, from its slot to its verdict.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{RetryPolicy, TaskContext, TaskError, Verdict, verdict};
use tokio::sync::mpsc;
use tower::Service;
use tracing::field::display;

use crate::held::Place;
use crate::run::{Run, Start};
use crate::watchdog::{self, Label};

/// How a run ended, for the pump.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) place: Place,
    pub(crate) end: End,
}

#[derive(Debug)]
pub(crate) enum End {
    Verdict(Verdict),
    /// The body has not begun: when it was to, the lease was no longer good or the run was cancelled; or it was aborted
    /// before.
    NotStarted,
    /// The body has begun, and the run was aborted, or its runtime went away.
    Aborted,
}

/// The promise to say how a run ended: kept by its drop at the latest.
#[derive(Debug)]
pub(crate) struct Answer {
    place: Place,
    start: Arc<Start>,
    finished: Option<mpsc::Sender<Finished>>,
}

impl Answer {
    pub(crate) fn new(place: Place, start: Arc<Start>, finished: mpsc::Sender<Finished>) -> Self {
        Self {
            place,
            start,
            finished: Some(finished),
        }
    }

    fn give(&mut self, end: End) {
        if let Some(finished) = self.finished.take() {
            // The channel has room for all that may be held, so only a pump that has ended refuses.
            let place = self.place;
            let _ = finished.try_send(Finished { place, end });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(if self.start.give_up() {
            End::NotStarted
        } else {
            End::Aborted
        });
    }
}

/// What decides about a run's end.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) start: Arc<Start>,
    pub(crate) policy: RetryPolicy,
    pub(crate) keep: Option<Duration>,
    /// For how long the task is put off where what its body runs in is not fit; `None` counts that as a failure.
    pub(crate) put_off: Option<Duration>,
    pub(crate) label: Label,
}

/// Runs one delivery and answers with its verdict.
///
/// One future inside another and each polled where it lies, as every task pays for the size: what is spawned is moved
/// once and allocated by it.
pub(crate) async fn deliver<S>(mut service: S, run: Run, terms: Terms, mut answer: Answer)
where
    S: Service<Run, Response = Bytes, Error = TaskError>,
{
    let context = run.context.clone();
    let mut work = pin!(async {
        if !terms.start.may_begin(&run.context) {
            return Err(not_started());
        }
        match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(run).await,
            Err(error) => Err(error),
        }
    });
    let end = poll_fn(|cx| {
        watchdog::shown(terms.label, || {
            // Our own layers catch the body's panics; this one is for the user's layers and for what errors do when
            // dropped.
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let polled = work.as_mut().poll(cx);
                polled.map(|end| decide(&context, &terms, end))
            }));
            polled.unwrap_or_else(|payload| {
                // Not ours, and its drop may panic again.
                std::mem::forget(payload);
                let error =
                    TaskError::panicked("in a layer around the task, or in the drop of its error");
                Poll::Ready(decide(&context, &terms, Err(error)))
            })
        })
    })
    .await;
    answer.give(end);
}

/// What layers see of a body that did not begin; its task is given back whatever they make of it.
pub(crate) fn not_started() -> TaskError {
    TaskError::new("not started: it is cancelled, or its worker cannot run it now")
}

fn decide(context: &TaskContext, terms: &Terms, end: Result<Bytes, TaskError>) -> End {
    if terms.start.is_refused() {
        return End::NotStarted;
    }
    if let (true, Some(delay)) = (terms.start.is_unfit(), terms.put_off) {
        return End::Verdict(Verdict::Park(delay));
    }
    let error = end.as_ref().err();
    let failure = error.filter(|error| error.snoozes_for().is_none());
    let failure = failure.map(TaskError::to_failure).map(display);
    let mut verdict = verdict(
        end,
        context.attempt(),
        &terms.policy,
        fastrand::f64(),
        terms.keep,
    );
    if let Verdict::Bury(failure) = &mut verdict {
        failure.run_mut().losses = Some(context.losses());
    }
    let (task, id, attempt) = (context.task(), context.id(), context.attempt());
    match &verdict {
        Verdict::Bury(failure) => {
            tracing::warn!(%task, %id, attempt, %failure, "the task failed for good and is a dead letter now");
        }
        Verdict::RetryIn(delay) => {
            tracing::info!(%task, %id, attempt, ?delay, failure, "the task failed and runs again");
        }
        Verdict::Snooze(delay) => {
            tracing::debug!(%task, %id, attempt, ?delay, "the task runs again later, as its body asks");
        }
        _ => tracing::debug!(%task, %id, attempt, "the task is done"),
    }
    End::Verdict(verdict)
}
