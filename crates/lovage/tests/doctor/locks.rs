//! What unique tasks hold is what the doctor finds, and what it gives back.

use std::sync::Arc;

use lovage::doctor::FindingKind as Kind;
use lovage::prelude::*;
use lovage_test_redis::RedisServer;

use crate::{Stage, charge, client, crawl, examine, hold, kinds, refresh, repair, server, worker};

const LOCKS: &str = "{lovage:default}:locks";

async fn held_keys(server: &RedisServer) -> Vec<String> {
    let all = server.cli::<Vec<String>>(&["KEYS", "{lovage:default}:unique:*"]);
    all.await.expect("it answers")
}

async fn delete(server: &RedisServer, keys: &[String]) {
    let words = ["DEL".to_owned()].into_iter().chain(keys.iter().cloned());
    let words: Vec<String> = words.collect();
    assert_eq!(server.cli::<usize>(&words).await.unwrap(), keys.len());
}

#[tokio::test]
async fn a_key_that_was_deleted_is_held_again_and_keeps_others_out() {
    let server = server().await;
    let client = client(&server).await;
    let sent = client.send(refresh(7)).await.unwrap();
    delete(&server, &held_keys(&server).await).await;
    let repaired = repair(&client).await;
    assert_eq!(repaired.counted[&Kind::LostLock], 1, "{repaired}");
    assert!(repaired.is_healthy(), "{repaired}");
    let again = client.send(refresh(7)).await.unwrap();
    assert_eq!((again.id(), again.is_new()), (sent.id(), false));
}

#[tokio::test]
async fn a_key_that_another_task_took_meanwhile_is_left_to_it() {
    let server = server().await;
    let client = client(&server).await;
    client.send(refresh(7)).await.unwrap();
    delete(&server, &held_keys(&server).await).await;
    let other = client.send(refresh(7)).await.unwrap();
    assert!(other.is_new());
    let repaired = repair(&client).await;
    assert_eq!(repaired.counted[&Kind::LostLock], 1, "{repaired}");
    assert_eq!(repaired.repaired, 0, "{repaired}");
    let again = client.send(refresh(7)).await.unwrap();
    assert_eq!(again.id(), other.id());
}

/// Also where it runs: a send that would take the place of one that waits must not take that of one that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_note_was_deleted_is_freed_with_its_task() {
    let server = server().await;
    let client = client(&server).await;
    let stage = Arc::<Stage>::default();
    let worker = worker(&client, &stage).start().await.unwrap();
    let sent = client.send(hold(7)).await.unwrap();
    stage.started.acquire().await.unwrap().forget();
    server.cli::<u8>(&["DEL", LOCKS]).await.unwrap();

    let repaired = repair(&client).await;
    assert_eq!(repaired.counted[&Kind::LostLock], 1, "{repaired}");
    assert!(repaired.is_healthy(), "{repaired}");
    let again = client.send(hold(7)).await.unwrap();
    assert_eq!((again.id(), again.is_new()), (sent.id(), false));
    stage.go.add_permits(1);
    assert_eq!(sent.wait(secs(30)).await.unwrap(), 7);
    assert_eq!(held_keys(&server).await, [""; 0]);
    worker.shutdown().await;
    assert_eq!(client.counts("default").await.unwrap().ready, 0);
    let report = examine(&client).await;
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test]
async fn a_key_whose_note_was_deleted_is_held_no_longer_than_it_was_to_be() {
    let server = server().await;
    let client = client(&server).await;
    client.send(crawl(7)).await.unwrap();
    server.cli::<u8>(&["DEL", LOCKS]).await.unwrap();
    let repaired = repair(&client).await;
    assert_eq!(kinds(&repaired), [Kind::LostLock].into(), "{repaired}");
    // As Redis does at its end.
    delete(&server, &held_keys(&server).await).await;
    let repaired = repair(&client).await;
    assert_eq!((repaired.repaired, repaired.is_healthy()), (0, true));
    assert!(client.send(crawl(7)).await.unwrap().is_new());
}

/// As after a clock that has gone back.
#[tokio::test]
async fn a_callback_that_is_put_off_for_years_is_shown_at_once() {
    let server = server().await;
    let client = client(&server).await;
    let sent = client.send(charge(7)).await.unwrap();
    let (id, far) = (sent.id(), b"4000000000000".as_slice());
    let [ready, dead, callbacks] =
        ["ready:5", "dead", "callbacks"].map(|name| format!("{{lovage:default}}:{name}"));
    for words in [
        [b"LREM".as_slice(), ready.as_bytes(), b"0", id.as_bytes()],
        [b"ZADD", dead.as_bytes(), b"1", id.as_bytes()],
        [b"ZADD", callbacks.as_bytes(), far, id.as_bytes()],
    ] {
        assert_eq!(server.cli::<u64>(&words).await.unwrap(), 1);
    }
    let repaired = repair(&client).await;
    assert_eq!(repaired.counted[&Kind::LateCallback], 1, "{repaired}");
    assert!(repaired.is_healthy(), "{repaired}");
    let score: f64 = server
        .cli(&[b"ZSCORE".as_slice(), callbacks.as_bytes(), id.as_bytes()])
        .await
        .unwrap();
    assert!(score < 3e12, "{score}");
}

#[tokio::test]
async fn a_key_that_a_dead_letter_or_nobody_has_keeps_no_send_out() {
    let server = server().await;
    let client = client(&server).await;
    let sent = client.send(refresh(7)).await.unwrap();
    let keys = held_keys(&server).await;
    let value: Vec<u8> = server.cli(&["GET", &keys[0]]).await.unwrap();
    client.cancel("default", sent.id()).await.unwrap();
    let left = [b"SET".as_slice(), keys[0].as_bytes(), &value];
    server.cli::<()>(&left).await.unwrap();

    let report = examine(&client).await;
    assert_eq!(kinds(&report), [Kind::StrayLock].into(), "{report}");
    let repaired = repair(&client).await;
    assert_eq!((repaired.repaired, repaired.is_healthy()), (1, true));
    assert_eq!(held_keys(&server).await, [""; 0]);

    let sent = client.send(refresh(7)).await.unwrap();
    let id = sent.id();
    for words in [
        [
            b"LREM".as_slice(),
            b"{lovage:default}:ready:5",
            b"0",
            id.as_bytes(),
        ],
        [b"ZADD", b"{lovage:default}:dead", b"1", id.as_bytes()],
    ] {
        server.cli::<u64>(&words).await.unwrap();
    }
    let report = examine(&client).await;
    assert!(kinds(&report).contains(&Kind::StrayLock), "{report}");
    repair(&client).await;
    assert!(client.send(refresh(7)).await.unwrap().is_new());
}
