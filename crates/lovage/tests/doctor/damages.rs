//! All that was broken by hand is found, and put right on request.

use std::sync::Arc;

use lovage::doctor::FindingKind as Kind;
use lovage::prelude::*;
use lovage::{FailedTask, FailureKind, Place, TaskId, Unique};

use crate::{add, client, examine, kinds, repair, server, worker};

#[task]
async fn tell(failed: FailedTask) {
    drop(failed);
}

#[task(ack_early, unique = Unique::args(), on_failure = tell)]
async fn bill(order: u64) -> u64 {
    order
}

const WORKER: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

/// What is broken, with a task that is ready; what is named; whether it is the doctor's to repair.
type Damage = (Vec<String>, Kind, bool);

const OWN: &str = "a task to damage";
const ABSENT: &str = "an id of nothing";

const PUSH_MANY: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('RPUSH', KEYS[1], i) end";
const OLD_HISTORY: &str = "redis.call('HSET', '{lovage}:versions', 's', 1)
redis.call('HSET', '{lovage}:records', 's', 'x')
redis.call('ZADD', '{lovage}:names', 0, 's')
for i = 1, 101 do redis.call('RPUSH', '{lovage}:history:s', i) end";

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
            of(&["HSET", &q("reports"), WORKER, "1:"]),
            Kind::StrayWorker,
            true,
        ),
        (
            of(&["HSET", &q("suspects"), WORKER, "1:1"]),
            Kind::StrayWorker,
            true,
        ),
        (
            of(&["ZADD", &q("callbacks"), "1", ABSENT]),
            Kind::StrayNote,
            true,
        ),
        // Only the dead are called back.
        (
            of(&["ZADD", &q("callbacks"), "1", OWN]),
            Kind::StrayNote,
            true,
        ),
        (
            of(&["EVAL", PUSH_MANY, "1", &q("losses"), "1001"]),
            Kind::Overlong,
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

/// Of keys that tasks hold. `WORKER` is 32 digits, as a key is.
fn locks() -> Vec<Damage> {
    let held = q(&format!("unique:{WORKER}"));
    let by = |id: &str, rest: &str| of(&["SET", &held, &format!("{id}{rest}")]);
    let noted = |id: &str, what: &str| of(&["HSET", &q("locks"), id, what]);
    let until_done = format!("d{WORKER}::");
    vec![
        (by("rubbish", ""), Kind::StrayLock, true),
        // Of a task that is not there, and of one that wants no key.
        (by(ABSENT, "d:"), Kind::StrayLock, true),
        (by(OWN, "s:"), Kind::StrayLock, true),
        // A span that never ends keeps all out for ever.
        (by(ABSENT, "t:"), Kind::StrayLock, true),
        (by(ABSENT, "t4000000000000:"), Kind::Lasting, true),
        (by(ABSENT, "d1:"), Kind::Lasting, true),
        (of(&["LPUSH", &held, "x"]), Kind::WrongType, false),
        (noted(ABSENT, &until_done), Kind::StrayNote, true),
        (noted(OWN, "rubbish"), Kind::StrayLock, true),
        (noted(OWN, &until_done), Kind::LostLock, true),
    ]
}

/// Of the rest.
fn others() -> Vec<Damage> {
    let endless = format!("an id of nothing{}", "9".repeat(40));
    vec![
        (
            of(&["SET", &q(&format!("result:{WORKER}")), "x"]),
            Kind::Lasting,
            true,
        ),
        (
            of(&[
                "SET",
                &q(&format!("once:{WORKER}")),
                "an id of nothing4000000000000",
            ]),
            Kind::Lasting,
            true,
        ),
        (
            of(&["SET", &q(&format!("once:{WORKER}")), &endless]),
            Kind::Lasting,
            true,
        ),
        (
            of(&["SET", &q(&format!("result:{WORKER}")), &endless]),
            Kind::Lasting,
            true,
        ),
        (
            of(&["SET", &q(&format!("once:{WORKER}")), "rubbish"]),
            Kind::Lasting,
            true,
        ),
        (of(&["SET", &q("nonsense"), "x"]), Kind::UnknownKey, false),
        (of(&["SET", &q("suspects"), "x"]), Kind::WrongType, false),
        (of(&["SET", &q("bell"), "x"]), Kind::WrongType, false),
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
        (of(&["EVAL", OLD_HISTORY, "0"]), Kind::Schedule, true),
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
            of(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
            Kind::Eviction,
            false,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_repairs_what_was_broken_by_hand() {
    let id = TaskId::from_bytes(*b"a task to damage");
    let table = places().into_iter().chain(notes()).chain(locks());
    let table = table.chain(others());
    let server = server().await;
    let client = client(&server).await;
    for (broken, kind, is_repaired) in table {
        server.cli::<()>(&["FLUSHALL"]).await.unwrap();
        let sent = client.send(add(1, 2)).id(id).await.unwrap();
        let report = examine(&client).await;
        assert!(report.is_healthy(), "before {broken:?}: {report}");

        server.cli::<()>(&broken).await.unwrap();
        let report = examine(&client).await;
        assert!(kinds(&report).contains(&kind), "{broken:?}: {report}");
        assert_eq!(report.repaired, 0, "{broken:?}: {report}");
        if !is_repaired {
            continue;
        }
        let repaired = repair(&client).await;
        assert!(0 < repaired.repaired, "{broken:?}: {repaired}");
        assert!(repaired.is_healthy(), "{broken:?}: {repaired}");
        let report = examine(&client).await;
        assert!(report.is_healthy(), "after {broken:?}: {report}");

        if kind == Kind::OrphanList {
            assert_eq!(client.counts("default").await.unwrap().active, 1);
            continue;
        }
        let worker = worker(&client, &Arc::default()).start().await.unwrap();
        if broken[0] != "HDEL" {
            assert_eq!(sent.wait(secs(30)).await.unwrap(), 3, "{broken:?}");
        }
        worker.shutdown().await;
        assert_eq!(sent.state().await.unwrap(), Place::Gone);
    }
}

#[tokio::test]
async fn a_result_that_reads_as_a_remembered_send_is_kept_for_a_day() {
    let server = server().await;
    let client = client(&server).await;
    let result = q(&format!("result:{WORKER}"));
    server
        .cli::<()>(&["SET", &result, "an id of nothing1"])
        .await
        .unwrap();
    let repaired = repair(&client).await;
    assert_eq!(kinds(&repaired), [Kind::Lasting].into(), "{repaired}");
    let left: u64 = server.cli(&["TTL", &result]).await.unwrap();
    assert!(secs(23 * 3600).as_secs() < left, "{left} s");
}

/// Nobody can tell whether it began: somebody may have deleted the list of the worker that held it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_starts_no_at_most_once_task_a_second_time() {
    let server = server().await;
    let client = client(&server).await;
    let sent = client.send(bill(7)).await.unwrap();
    let kinds_found = [
        ("ready:5", vec![Kind::InNoPlace]),
        // What stood with the dead letter stands for nothing any more, and is there again with the new one.
        ("dead", vec![Kind::InNoPlace, Kind::StrayNote]),
    ];
    for (place, found) in kinds_found {
        server.cli::<()>(&["DEL", &q(place)]).await.unwrap();
        let repaired = repair(&client).await;
        assert!(repaired.is_healthy(), "{place}: {repaired}");
        let repaired = kinds(&repaired);
        assert!(
            found.iter().all(|kind| repaired.contains(kind)),
            "{place}: {repaired:?}"
        );
        assert_eq!(sent.state().await.unwrap(), Place::Dead, "{place}");
        let letters = client
            .dead_letters_of("default")
            .unwrap()
            .list(0, 9)
            .await
            .unwrap();
        assert_eq!(letters[0].failure.kind, FailureKind::Abandoned, "{place}");
        // What is there beside it is as wherever a task is buried.
        let owed: u64 = server.cli(&["ZCARD", &q("callbacks")]).await.unwrap();
        assert_eq!(owed, 1, "{place}");
    }
    assert!(client.send(bill(7)).await.unwrap().is_new());
    let report = examine(&client).await;
    assert!(report.is_healthy(), "{report}");
}
