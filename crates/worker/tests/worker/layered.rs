//! Layers of the user around a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::support::{Act, Compute, Stand, envelope, queue, send, until};
use futures_util::future::BoxFuture;
use lovage_core::{Ack, Inspect, Place, Task, TaskError, ms};
use lovage_worker::Run;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

/// A layer that takes its time.
#[derive(Clone)]
struct Late {
    inner: lovage_worker::Runner,
    gate: Arc<Semaphore>,
    arrived: Arc<AtomicUsize>,
}

impl Service<Run> for Late {
    type Response = bytes::Bytes;
    type Error = TaskError;
    type Future = BoxFuture<'static, Result<bytes::Bytes, TaskError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        let mut late = self.clone();
        Box::pin(async move {
            late.arrived.fetch_add(1, Ordering::SeqCst);
            late.gate.acquire().await.unwrap().forget();
            late.inner.call(run).await
        })
    }
}

fn late(
    gate: &Arc<Semaphore>,
    arrived: &Arc<AtomicUsize>,
) -> impl Layer<lovage_worker::Runner, Service = Late> {
    let (gate, arrived) = (Arc::clone(gate), Arc::clone(arrived));
    tower::layer::layer_fn(move |inner| Late {
        inner,
        gate: Arc::clone(&gate),
        arrived: Arc::clone(&arrived),
    })
}

/// Sends a task that may run at most once, and stops its worker while it is in a layer.
async fn is_given_back_from_a_layer<T: Task>(to: &str, message: &T) {
    let stand = Stand::new();
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::default());
    let worker = stand.with(|it| it.queues = Some(queue(to).into()));
    let worker = worker.layer(late(&gate, &arrived)).start().await.unwrap();
    let mut task = envelope(to, message);
    task.ack = Ack::Early;
    let id = send(&stand.memory, &task).await;
    until("it is in the layer", || arrived.load(Ordering::SeqCst) == 1).await;
    worker.shutdown_now().await;
    let state = stand.memory.state(&queue(to), id).await.unwrap();
    assert_eq!((state, stand.probe.started()), (Place::Ready, 0));
}

#[tokio::test]
async fn an_at_most_once_task_whose_body_has_not_begun_is_given_back() {
    is_given_back_from_a_layer("default", &Act::Succeed).await;
}

#[tokio::test]
async fn an_at_most_once_task_that_has_not_begun_on_a_thread_is_given_back() {
    is_given_back_from_a_layer("compute", &Compute).await;
}

#[tokio::test]
async fn a_body_does_not_begin_once_its_lease_is_lost_in_a_layer() {
    let stand = Stand::new();
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::default());
    let late = late(&gate, &arrived);
    let worker = stand.with(|it| it.lease = ms(300)).layer(late);
    let worker = worker.start().await.unwrap();
    stand.send(Act::Succeed).await;
    until("it is in the layer", || arrived.load(Ordering::SeqCst) == 1).await;
    stand.broker.set(|faults| &faults.evicted, true);
    until("the identity is lost", || worker.stats().leases_lost == 1).await;
    gate.add_permits(1);
    until("the run has ended", || worker.stats().held == 0).await;
    assert_eq!((stand.probe.started(), worker.stats().stale), (0, 1));
    worker.shutdown().await;
}

#[tokio::test]
async fn layers_of_the_user_wrap_every_run_and_may_end_it() {
    let stand = Stand::new();
    let refuse = tower::util::MapRequestLayer::new(|run: Run| {
        assert_eq!(run.context().task().as_str(), "act");
        run
    });
    let mark = tower::layer::layer_fn(|inner: lovage_worker::Runner| {
        inner.map_result(|end: Result<_, TaskError>| {
            end.map_err(|error| TaskError::new(format!("seen: {error}")))
        })
    });
    let worker = stand
        .worker()
        .layer(refuse)
        .layer(mark)
        .start()
        .await
        .unwrap();
    let mut message = envelope("default", &Act::Fail);
    message.max_retries = Some(0);
    send(&stand.memory, &message).await;
    assert_eq!(
        stand.first_dead(ms(0)).await.failure.message,
        "seen: it failed"
    );
    worker.shutdown().await;
}
