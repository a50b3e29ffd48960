//! The doctor: finds nothing on a healthy system, and all that was broken by hand.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod damages;
mod load;
mod locks;
mod refusals;
mod sites;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use lovage::doctor::{FindingKind as Kind, Report};
use lovage::prelude::*;
use lovage::worker::WorkerBuilder;
use lovage::{FailedTask, TaskId};
use lovage_test_redis::RedisServer;
use tokio::sync::Semaphore;

#[task]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(max_retries = 2, backoff = lovage::Backoff::constant(ms(5)))]
async fn fails() -> anyhow::Result<()> {
    anyhow::bail!("as it must")
}

#[task(max_retries = 0, on_failure = console)]
async fn charge(card: u64) -> anyhow::Result<()> {
    anyhow::bail!("{card} has no cover")
}

#[task]
async fn console(what: FailedTask) -> usize {
    what.args.len()
}

#[task(unique = Unique::args())]
async fn refresh(shop: u64) -> u64 {
    shop
}

#[task(unique = Unique::args().ttl(secs(3600)))]
async fn crawl(site: u64) -> u64 {
    site
}

#[task(unique = Unique::by(|message: &resize| message.image).until(Until::Start).replace())]
async fn resize(image: u64, width: u64) -> u64 {
    image + width
}

#[task(unique = Unique::args().throttle(ms(40)))]
async fn poll(feed: u64) -> u64 {
    feed
}

/// What the bodies of a test have to do with it.
#[derive(Debug)]
struct Stage {
    runs: Mutex<HashMap<TaskId, u32>>,
    started: Semaphore,
    go: Semaphore,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            runs: Mutex::default(),
            started: Semaphore::new(0),
            go: Semaphore::new(0),
        }
    }
}

#[task]
async fn count(ctx: &TaskContext, stage: State<Arc<Stage>>) {
    let mut runs = stage.runs.lock().expect("nothing panics with it");
    *runs.entry(ctx.id()).or_default() += 1;
}

/// Runs until the test lets it.
#[task(unique = Unique::by(|message: &hold| message.of).replace())]
async fn hold(of: u64, stage: State<Arc<Stage>>) -> u64 {
    stage.started.add_permits(1);
    stage.go.acquire().await.expect("nobody closes it").forget();
    of
}

fn worker(client: &Client, stage: &Arc<Stage>) -> WorkerBuilder {
    client.worker().state(Arc::clone(stage))
}

/// A server that keeps what it is given, so that nothing is to be said against it.
async fn server() -> RedisServer {
    let builder = RedisServer::builder().appendonly("everysec");
    builder.arg("maxmemory", "1gb").start().await
}

async fn client(server: &RedisServer) -> Client {
    let client = Client::builder(server.url()).deadline(secs(60)).connect();
    client.await.expect("it answers")
}

async fn examine(client: &Client) -> Report {
    client
        .doctor()
        .pause(ms(0))
        .examine()
        .await
        .expect("it answers")
}

async fn repair(client: &Client) -> Report {
    let repairing = client.doctor().pause(ms(0)).repair().examine();
    repairing.await.expect("it answers")
}

fn kinds(report: &Report) -> BTreeSet<Kind> {
    report.counted.keys().copied().collect()
}

/// Some of everything that a program does.
async fn business(client: Client) {
    for round in 0..12_u64 {
        let sums = (0..200).map(|n| client.send(add(round, n)).countdown(ms(n % 50)));
        client.send_all(sums).await.unwrap();
        let ready = (0..200).map(|n| add(round, n));
        let handles = client.send_all(ready).await.unwrap();
        for handle in handles.iter().take(20) {
            client.cancel("default", handle.id()).await.unwrap();
        }
        client.send_all((0..20).map(|_| fails())).await.unwrap();
        client.send_all((0..20).map(charge)).await.unwrap();
        for n in 0..40 {
            client.send(refresh(n % 7)).await.unwrap();
            client
                .send(resize(n % 5, n))
                .countdown(ms(n))
                .await
                .unwrap();
            client.send(poll(n % 3)).await.unwrap();
            let once = client.send(add(n, n)).idempotency_key(format!("{}", n % 9));
            once.idempotency_ttl(ms(30)).await.unwrap();
        }
        let dead = client.dead_letters_of("default").unwrap();
        for letter in dead.list(0, 10).await.unwrap().into_iter().step_by(3) {
            dead.revive(letter.id).await.unwrap();
        }
        dead.purge_older(ms(100)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_system_has_no_findings() {
    let server = server().await;
    let client = client(&server).await;
    let worker = worker(&client, &Arc::default()).start().await.unwrap();
    let sending = tokio::spawn(business(client.clone()));
    let mut rounds = 0;
    while !sending.is_finished() || rounds < 5 {
        let report = examine(&client).await;
        assert_eq!(report.total(), 0, "{report}");
        rounds += 1;
    }
    sending.await.unwrap();
    worker.shutdown().await;
    let report = examine(&client).await;
    assert!(report.is_healthy(), "{report}");
    assert!(0 < report.looked_at);
    assert!(
        report.to_string().contains("a kill takes nothing"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_may_not_ask_is_no_error() {
    let server = server().await;
    let rules = [
        "ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-config",
    ];
    server.cli::<()>(&rules).await.unwrap();
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let client = Client::connect(&url).await.unwrap();
    client.send(add(1, 2)).await.unwrap();
    let report = examine(&client).await;
    assert_eq!(report.total(), 0, "{report}");
    assert!(
        report
            .to_string()
            .contains("could not be looked at: CONFIG GET"),
        "{report}"
    );
}
