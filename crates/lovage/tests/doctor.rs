//! The doctor: finds nothing on a healthy system, and all that was broken by hand.

use std::collections::BTreeSet;

use lovage::doctor::{AilmentKind as Kind, Report};
use lovage::prelude::*;
use lovage::{Place, TaskId};
use lovage_test_redis::RedisServer;

#[task]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(max_retries = 2, backoff = lovage::Backoff::constant(ms(5)))]
async fn fails() -> anyhow::Result<()> {
    anyhow::bail!("as it must")
}

/// A server that keeps what it is given, so that nothing is to be said against it.
async fn server() -> RedisServer {
    RedisServer::builder().appendonly("everysec").start().await
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

fn kinds(report: &Report) -> BTreeSet<Kind> {
    report.counted.keys().copied().collect()
}

const WORKER: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

/// What is broken, with a task that is ready; what is named; whether it is the doctor's to mend.
type Damage = (Vec<String>, Kind, bool);

const OWN: &str = "a task to damage";
const ABSENT: &str = "an id of nothing";

fn q(name: &str) -> String {
    format!("{{lovage:default}}:{name}")
}

fn of(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Of places of tasks.
fn places() -> Vec<Damage> {
    vec![
        (
            of(&["LREM", &q("ready:5"), "0", OWN]),
            Kind::InNoPlace,
            true,
        ),
        (of(&["RPUSH", &q("ready:5"), OWN]), Kind::InTwoPlaces, true),
        (
            of(&["ZADD", &q("scheduled"), "1", OWN]),
            Kind::InTwoPlaces,
            true,
        ),
        (of(&["ZADD", &q("dead"), "1", OWN]), Kind::InTwoPlaces, true),
        (of(&["HDEL", &q("tasks"), OWN]), Kind::NoEnvelope, true),
        (
            of(&["RPUSH", &q("ready:5"), ABSENT]),
            Kind::NoEnvelope,
            true,
        ),
        (
            of(&["ZADD", &q("scheduled"), "1", ABSENT]),
            Kind::NoEnvelope,
            true,
        ),
        (
            of(&["ZADD", &q("dead"), "1", ABSENT]),
            Kind::NoEnvelope,
            true,
        ),
    ]
}

/// Of what is noted of tasks and workers.
fn notes() -> Vec<Damage> {
    vec![
        (
            of(&["HSET", &q("facts"), ABSENT, "1:0:0"]),
            Kind::StrayNote,
            true,
        ),
        (
            of(&["HSET", &q("reasons"), OWN, "why"]),
            Kind::StrayNote,
            true,
        ),
        (
            of(&["HSET", &q("waiting"), ABSENT, WORKER]),
            Kind::StrayNote,
            true,
        ),
        (of(&["SADD", &q("cancels"), OWN]), Kind::StrayNote, true),
        (
            of(&["HSET", &q("ghosts"), &format!("{ABSENT}5"), "2"]),
            Kind::StrayNote,
            true,
        ),
        (
            of(&["HSET", &q(&format!("active:{WORKER}")), OWN, "1:1"]),
            Kind::OrphanList,
            true,
        ),
        (
            of(&["HSET", &q("meta"), &format!("lease:{WORKER}"), "1"]),
            Kind::StrayLease,
            true,
        ),
        (
            of(&["HSET", &q("meta"), "dead_bytes", "17"]),
            Kind::DeadBytes,
            true,
        ),
        (
            of(&["HSET", &q("meta"), "used", ""]),
            Kind::UnusedPlace,
            true,
        ),
    ]
}

/// Of the rest.
fn others() -> Vec<Damage> {
    vec![
        (
            of(&["SET", &q(&format!("result:{WORKER}")), "x"]),
            Kind::LastingResult,
            true,
        ),
        (of(&["SET", &q("nonsense"), "x"]), Kind::UnknownKey, false),
        (of(&["SET", &q("suspects"), "x"]), Kind::WrongType, false),
        (
            of(&["HSET", &q("tasks"), "short", "x"]),
            Kind::Rubbish,
            false,
        ),
        (
            of(&["HSET", "{lovage}:records", "s", "x"]),
            Kind::Schedule,
            true,
        ),
        (
            of(&["HSET", "{lovage}:versions", "s", "1"]),
            Kind::Schedule,
            false,
        ),
        (
            of(&["ZADD", "{lovage}:names", "0", "s"]),
            Kind::Schedule,
            true,
        ),
        (
            of(&["RPUSH", "{lovage}:history:s", "x"]),
            Kind::Schedule,
            true,
        ),
        (
            of(&["RPUSH", "{lovage}:outbox:default", "x"]),
            Kind::Outbox,
            true,
        ),
        (
            of(&["SADD", "{lovage}:outboxes", "other"]),
            Kind::Outbox,
            true,
        ),
        (
            of(&[
                "CONFIG",
                "SET",
                "maxmemory",
                "1gb",
                "maxmemory-policy",
                "allkeys-lru",
            ]),
            Kind::Eviction,
            false,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_system_has_no_ailments() {
    let server = server().await;
    let client = client(&server).await;
    let worker = client.worker().start().await.unwrap();
    let sender = client.clone();
    let sending = tokio::spawn(async move {
        for round in 0..12_u64 {
            let sums = (0..200).map(|n| sender.send(add(round, n)).countdown(ms(n % 50)));
            sender.send_all(sums).await.unwrap();
            let ready = (0..200).map(|n| add(round, n));
            let handles = sender.send_all(ready).await.unwrap();
            for handle in handles.iter().take(20) {
                sender.cancel("default", handle.id()).await.unwrap();
            }
            sender.send_all((0..20).map(|_| fails())).await.unwrap();
        }
    });
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
async fn the_doctor_mends_what_was_broken_by_hand() {
    let id = TaskId::from_bytes(*b"a task to damage");
    let table = places().into_iter().chain(notes()).chain(others());
    let server = server().await;
    let client = client(&server).await;
    for (broken, kind, is_mended) in table {
        server.cli::<()>(&["FLUSHALL"]).await.unwrap();
        let sent = client.send(add(1, 2)).id(id).await.unwrap();
        let report = examine(&client).await;
        assert!(report.is_healthy(), "before {broken:?}: {report}");

        server.cli::<()>(&broken).await.unwrap();
        let report = examine(&client).await;
        assert!(kinds(&report).contains(&kind), "{broken:?}: {report}");
        assert_eq!(report.repaired, 0, "{broken:?}: {report}");
        if !is_mended {
            continue;
        }
        let repaired = client
            .doctor()
            .pause(ms(0))
            .repair()
            .examine()
            .await
            .unwrap();
        assert!(repaired.is_healthy(), "{broken:?}: {repaired}");
        let report = examine(&client).await;
        assert!(report.is_healthy(), "after {broken:?}: {report}");

        if kind == Kind::OrphanList {
            assert_eq!(client.counts("default").await.unwrap().active, 1);
            continue;
        }
        let worker = client.worker().start().await.unwrap();
        if broken[0] != "HDEL" {
            assert_eq!(sent.wait(secs(30)).await.unwrap(), 3, "{broken:?}");
        }
        worker.shutdown().await;
        assert_eq!(sent.state().await.unwrap(), Place::Gone);
    }
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
