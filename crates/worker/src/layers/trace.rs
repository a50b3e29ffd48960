//! The span `process` around a run, built only where somebody records it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use lovage_core::{TaskError, telemetry};
use tower::Service;
use tracing::Span;
use tracing::field::Empty;

use crate::run::Run;

/// The service of this layer.
#[derive(Clone, Debug)]
pub(crate) struct Trace<S>(S);

impl<S> Trace<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S> Service<Run> for Trace<S>
where
    S: Service<Run, Response = Bytes, Error = TaskError>,
    S::Future: Unpin,
{
    type Response = Bytes;
    type Error = TaskError;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        let span = process_span(&run);
        let inner = span.in_scope(|| self.0.call(run));
        TraceFuture { inner, span }
    }
}

fn process_span(run: &Run) -> Span {
    let context = run.context();
    tracing::info_span!(
        telemetry::SPAN_PROCESS,
        otel.name = %format_args!("{} {}", telemetry::SPAN_PROCESS, context.queue()),
        otel.kind = "consumer",
        messaging.system = telemetry::SYSTEM,
        messaging.operation.name = telemetry::SPAN_PROCESS,
        messaging.operation.r#type = telemetry::SPAN_PROCESS,
        messaging.destination.name = %context.queue(),
        messaging.message.id = %context.id(),
        lovage.task = %context.task(),
        lovage.attempt = context.attempt(),
        lovage.outcome = Empty,
        error.r#type = Empty,
    )
}

/// A run inside its span.
pub(crate) struct TraceFuture<F> {
    inner: F,
    span: Span,
}

impl<F> Future for TraceFuture<F>
where
    F: Future<Output = Result<Bytes, TaskError>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.span.is_disabled() {
            return Pin::new(&mut this.inner).poll(cx);
        }
        let entered = this.span.enter();
        let end = Pin::new(&mut this.inner).poll(cx);
        if let Poll::Ready(end) = &end {
            match end {
                Ok(_) => this.span.record("lovage.outcome", "done"),
                Err(error) if error.snoozes_for().is_some() => {
                    this.span.record("lovage.outcome", "snoozed")
                }
                Err(error) => this
                    .span
                    .record("lovage.outcome", "failed")
                    .record("error.type", tracing::field::display(error.kind())),
            };
        }
        drop(entered);
        end
    }
}
