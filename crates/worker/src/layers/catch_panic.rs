//! A panic of a body is an error of its task, whatever it panics with and wherever: in a poll, or in a drop.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use lovage_core::TaskError;
use tower::Service;

use crate::panics;
use crate::run::Run;

/// Calls `body`; a panic becomes [`TaskError::panicked`].
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, TaskError> {
    catch_unwind(AssertUnwindSafe(body)).map_err(panicked)
}

fn panicked(payload: Box<dyn Any + Send>) -> TaskError {
    let text = match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => match payload.downcast_ref::<String>() {
            Some(text) => text.as_str(),
            None => "with a value that is no text",
        },
    };
    let error = match panics::take() {
        Some(place) => TaskError::panicked_at(text, place.location, place.backtrace),
        None => TaskError::panicked(text),
    };
    // The payload is the user's and may panic when dropped; that one's payload is not looked at any more.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    error
}

/// The service of this layer.
#[derive(Clone, Debug)]
pub(crate) struct CatchPanic<S>(S);

impl<S> CatchPanic<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S> Service<Run> for CatchPanic<S>
where
    S: Service<Run, Response = Bytes, Error = TaskError>,
    S::Future: Unpin,
{
    type Response = Bytes;
    type Error = TaskError;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        CatchPanicFuture(match caught(|| self.0.call(run)) {
            Ok(inner) => State::Running(inner),
            Err(error) => State::Ended(Some(error)),
        })
    }
}

/// A run whose panics are caught.
pub(crate) struct CatchPanicFuture<F>(State<F>);

enum State<F> {
    Running(F),
    /// Holds the panic of the call itself until it is polled.
    Ended(Option<TaskError>),
    /// Ended, and dropped under guard.
    Dropped,
}

impl<F> CatchPanicFuture<F> {
    fn end(&mut self) -> Result<(), TaskError> {
        let state = std::mem::replace(&mut self.0, State::Dropped);
        caught(|| drop(state))
    }
}

impl<F> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Bytes, TaskError>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let end = match &mut this.0 {
            State::Running(inner) => match caught(|| Pin::new(inner).poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(end)) => end,
                Err(error) => Err(error),
            },
            State::Ended(error) => {
                let again = || TaskError::panicked("polled again after its end");
                return Poll::Ready(Err(error.take().unwrap_or_else(again)));
            }
            State::Dropped => return Poll::Pending,
        };
        Poll::Ready(match this.end() {
            Ok(()) => end,
            // A body that panicked before keeps that reason.
            Err(dropped) => end.and(Err(dropped)),
        })
    }
}

impl<F> Drop for CatchPanicFuture<F> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a body that was given up panicked while it was dropped");
        }
    }
}
