//! What is around every body, as tower layers: trace outside, then limits, then the catching of panics.

pub(crate) mod catch_panic;
pub(crate) mod timeout;
pub(crate) mod trace;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use lovage_core::TaskError;
use tower::Service;

use crate::lanes::Body;
use crate::run::Run;

use catch_panic::CatchPanic;
use timeout::Timeout;
use trace::Trace;

/// The service that runs a task on its lane, within its limits; the user's own layers go around it.
#[derive(Clone, Debug)]
pub struct Runner(Trace<Timeout<CatchPanic<Body>>>);

impl Runner {
    pub(crate) fn new(body: Body) -> Self {
        Self(Trace::new(Timeout::new(CatchPanic::new(body))))
    }
}

impl Service<Run> for Runner {
    type Response = Bytes;
    type Error = TaskError;
    type Future = RunnerFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, run: Run) -> RunnerFuture {
        RunnerFuture(self.0.call(run))
    }
}

/// A run under way.
pub struct RunnerFuture(<Trace<Timeout<CatchPanic<Body>>> as Service<Run>>::Future);

impl Future for RunnerFuture {
    type Output = Result<Bytes, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl std::fmt::Debug for RunnerFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunnerFuture")
    }
}
