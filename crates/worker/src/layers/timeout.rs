//! The limits of a run: the soft one cancels its token, the hard one gives it up; so does a cancelled token, a grace later.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{Lane, TaskContext, TaskError, secs};
use tokio::time::{Instant, sleep};
use tower::Service;

use crate::lanes::can_be_stopped;
use crate::run::{Limits, Run};

/// How long a body may go on after its token was cancelled.
pub(crate) const CANCEL_GRACE: Duration = secs(5);

/// The service of this layer.
#[derive(Clone, Debug)]
pub(crate) struct Timeout<S>(S);

impl<S> Timeout<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S> Service<Run> for Timeout<S>
where
    S: Service<Run, Response = Bytes, Error = TaskError>,
    S::Future: Unpin,
{
    type Response = Bytes;
    type Error = TaskError;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        let (context, limits, lane) = (run.context.clone(), run.limits, run.lane);
        TimeoutFuture {
            began: limits.soft.map(|_| Instant::now()),
            inner: self.0.call(run),
            given_up: None,
            context,
            limits,
            lane,
        }
    }
}

/// A run within its limits.
pub(crate) struct TimeoutFuture<F> {
    inner: F,
    /// Made when the body first waits: one that never does pays for no timer.
    given_up: Option<Pin<Box<dyn Future<Output = TaskError> + Send>>>,
    began: Option<Instant>,
    context: TaskContext,
    limits: Limits,
    lane: Lane,
}

impl<F> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Bytes, TaskError>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Poll::Ready(end) = Pin::new(&mut this.inner).poll(cx) {
            return Poll::Ready(end.map_err(|error| this.named(error)));
        }
        let given_up = this.given_up.get_or_insert_with(|| {
            Box::pin(given_up(this.context.clone(), this.limits, this.lane))
        });
        given_up.as_mut().poll(cx).map(Err)
    }
}

impl<F> TimeoutFuture<F> {
    /// What a body answers because its soft limit cancelled its token is a timeout, however the body puts it; but one
    /// that asks for another run later has used its token well.
    fn named(&self, error: TaskError) -> TaskError {
        match (self.limits.soft, self.began) {
            (Some(limit), Some(began))
                if self.context.is_cancelled()
                    && limit <= began.elapsed()
                    && error.snoozes_for().is_none() =>
            {
                TaskError::timed_out(limit)
            }
            _ => error,
        }
    }
}

/// Ends when the body is given up; what it still does then has no effect on the verdict.
async fn given_up(context: TaskContext, limits: Limits, lane: Lane) -> TaskError {
    tokio::select! {
        biased;
        error = soft_end(&context, limits, lane) => error,
        limit = after(limits.hard) => {
            context.cancellation().cancel();
            if !can_be_stopped(lane) {
                tracing::warn!(
                    task = %context.task(), id = %context.id(), ?limit,
                    "a body on a thread ran into its hard limit; it cannot be stopped and keeps its slot until it ends"
                );
            }
            TaskError::timed_out(limit)
        }
    }
}

async fn soft_end(context: &TaskContext, limits: Limits, lane: Lane) -> TaskError {
    let error = tokio::select! {
        biased;
        () = context.cancellation().cancelled() => TaskError::new("the run was cancelled"),
        limit = after(limits.soft) => {
            context.cancellation().cancel();
            TaskError::timed_out(limit)
        }
    };
    sleep(CANCEL_GRACE).await;
    if !can_be_stopped(lane) {
        tracing::warn!(
            task = %context.task(), id = %context.id(), grace = ?CANCEL_GRACE,
            "a body on a thread goes on although its token is cancelled; it keeps its slot until it ends"
        );
        // Nothing can stop it, and a verdict now would let it run twice at once.
        pending::<()>().await;
    }
    error
}

async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => pending().await,
    }
}
