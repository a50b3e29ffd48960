//! A worker inside the program, on the broker inside this process.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use lovage::prelude::*;
use lovage::worker::{Run, StartError};
use lovage::{Registry, RegistryError, TaskDef};
use tower::{Layer, Service};

#[task(queue = "sums")]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Sends another task, as a child of this one, and answers what that answers.
#[task]
async fn add_three(
    context: &TaskContext,
    client: State<Client>,
    a: u64,
    b: u64,
    c: u64,
) -> anyhow::Result<u64> {
    let first = client
        .send(add(a, b))
        .child_of(context)
        .await?
        .wait(secs(30))
        .await?;
    Ok(client
        .send(add(first, c))
        .child_of(context)
        .await?
        .wait(secs(30))
        .await?)
}

#[task]
async fn counted(counter: State<AtomicU32>) -> u32 {
    counter.fetch_add(1, Ordering::SeqCst)
}

async fn client() -> Client {
    Client::connect("memory://")
        .await
        .expect("nothing can be away")
}

fn registry<const N: usize>(tasks: [TaskDef; N]) -> Registry {
    let add = |registry: lovage::RegistryBuilder, task| registry.with(task);
    tasks
        .into_iter()
        .fold(Registry::new(), add)
        .build()
        .expect("the names differ")
}

#[tokio::test]
async fn a_body_can_send_by_the_worker_s_own_client() {
    let client = client().await;
    let worker = client
        .worker()
        .state(AtomicU32::new(0))
        .start()
        .await
        .unwrap();
    let sum = client.send(add_three(1, 2, 3)).await.unwrap();
    assert_eq!(sum.wait(secs(30)).await.unwrap(), 6);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_without_a_state_that_a_task_takes_does_not_start() {
    let error = client().await.worker().start().await.unwrap_err();
    let StartError::Registry(RegistryError::MissingState { task, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(task, "counted");
}

#[tokio::test]
async fn a_worker_with_queues_that_make_no_sense_does_not_start() {
    let client = client().await;
    let worker = client
        .worker()
        .registry(registry([add::DEF]))
        .queues("mail:3,default");
    let error = worker.start().await.unwrap_err();
    assert!(matches!(error, StartError::Queues(_)), "{error:?}");
}

#[tokio::test]
async fn a_worker_claims_from_the_queues_it_is_given() {
    let client = client().await;
    let worker = client
        .worker()
        .registry(registry([add::DEF]))
        .queues("left:2,right:1");
    let worker = worker.start().await.unwrap();
    for queue in ["left", "right"] {
        let sum = client.send(add(1, 2)).queue(queue).await.unwrap();
        assert_eq!(sum.wait(secs(30)).await.unwrap(), 3, "{queue}");
    }
    worker.shutdown().await;
}

#[derive(Clone)]
struct Counting<S>(S, Arc<AtomicU32>);

struct CountingLayer(Arc<AtomicU32>);

impl<S> Layer<S> for CountingLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting(inner, Arc::clone(&self.0))
    }
}

impl<S: Service<Run>> Service<Run> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.0.call(run))
    }
}

#[tokio::test]
async fn layers_wrap_every_run() {
    let client = client().await;
    let runs = Arc::new(AtomicU32::new(0));
    let worker = client.worker().registry(registry([add::DEF]));
    let worker = worker
        .layer(CountingLayer(Arc::clone(&runs)))
        .start()
        .await
        .unwrap();
    for n in 0..3 {
        client
            .send(add(n, n))
            .await
            .unwrap()
            .wait(secs(30))
            .await
            .unwrap();
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    worker.shutdown().await;
}
