//! Bytes that nobody of ours has written.

use bytes::Bytes;
use lovage_core::envelope::{ENVELOPE_BYTES_MAX, HEADER_BYTES};
use lovage_core::{Envelope, FailureKind, QueueName, TaskId, TaskName, ms, secs};
use lovage_integration_tests::tasks::{panic, quick};
use lovage_integration_tests::{LIMIT, Place, Stage, eventually};

use crate::stage;

const TASKS: &str = "{lovage:default}:tasks";
const READY: &str = "{lovage:default}:ready:5";

/// Puts bytes where an envelope should be, by hand.
async fn put(stage: &Stage, id: &[u8], bytes: &[u8]) {
    let redis = &stage.redis;
    redis
        .cli::<()>(&[b"HSET", TASKS.as_bytes(), id, bytes])
        .await
        .unwrap();
    redis
        .cli::<()>(&[b"RPUSH", READY.as_bytes(), id])
        .await
        .unwrap();
}

fn envelope(id: TaskId, task: &str, args: &'static [u8]) -> Envelope {
    Envelope::new(
        id,
        TaskName::parse(task).unwrap(),
        QueueName::parse("default").unwrap(),
        Bytes::from_static(args),
    )
}

/// Envelopes that cannot be run, by what is wrong with them.
fn hostile(id: TaskId) -> Vec<(&'static str, Vec<u8>)> {
    let good = envelope(id, "quick", b"\x81\xa6number\x01")
        .encode()
        .unwrap();
    let good = good.bytes().to_vec();
    let cut = good[..good.len() - 3].to_vec();
    let mut flipped = good.clone();
    for byte in &mut flipped[HEADER_BYTES..] {
        *byte ^= 0x55;
    }
    let mut huge_length = good[..HEADER_BYTES].to_vec();
    huge_length.extend(b"\xdf\xff\xff\xff\xff");
    let mut deep = good[..HEADER_BYTES].to_vec();
    deep.extend(vec![0x91; 100_000]);
    let mut long = good[..HEADER_BYTES].to_vec();
    long.resize(ENVELOPE_BYTES_MAX + 1, 0xc0);
    let arguments = envelope(id, "quick", b"\xa4text").encode().unwrap();
    let missing = envelope(id, "quick", b"\x80").encode().unwrap();
    vec![
        ("empty", Vec::new()),
        ("a byte", vec![1]),
        ("text", b"hello, is this a queue?".to_vec()),
        ("JSON", br#"{"task": "quick", "args": [1]}"#.to_vec()),
        ("the fixed part alone", good[..HEADER_BYTES].to_vec()),
        ("its end cut off", cut),
        ("flipped bits", flipped),
        ("a map of four thousand million entries", huge_length),
        ("nested without end", deep),
        ("larger than allowed", long),
        ("arguments of another type", arguments.bytes().to_vec()),
        ("no arguments", missing.bytes().to_vec()),
    ]
}

#[tokio::test]
async fn bad_bytes_harm_nothing() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut ids = Vec::new();
    for number in 0..hostile(TaskId::random()).len() {
        let id = TaskId::random();
        let (what, bytes) = hostile(id).swap_remove(number);
        put(&stage, id.as_bytes(), &bytes).await;
        ids.push((what, id, bytes));
    }
    // Workers look into the lists of the priorities that were ever used.
    let first = client.send(quick(0)).await.unwrap();
    let mut worker = stage.worker().lease(secs(2)).spawn();
    assert_eq!(first.wait(LIMIT).await.unwrap(), 0);

    for (what, id, bytes) in &ids {
        eventually(&format!("{what}: buried"), async || {
            stage.audit().await.has(*id, Place::Dead).then_some(())
        })
        .await;
        let letters = stage.dead_letters().await;
        let letter = letters.iter().find(|letter| letter.id == *id).unwrap();
        assert_eq!(
            letter.failure.kind,
            FailureKind::Malformed,
            "{what}: {letter:?}"
        );
        assert!(!letter.failure.message.is_empty(), "{what}");
        assert!(letter.bytes == *bytes, "{what}: its bytes were changed");
    }
    let handle = client.send(quick(3)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 3);
    assert_eq!(worker.ended(), None);
    stage.at_rest().await;
}

#[tokio::test]
async fn ids_that_are_none_and_ids_without_bytes_harm_nothing() {
    let stage = stage().await;
    let client = stage.client().await;
    let redis = &stage.redis;
    // Workers look into the lists of the priorities that were ever used, and at what is scheduled if anything ever was.
    client.send(quick(0)).priority(9).await.unwrap();
    client.send(quick(0)).countdown(ms(1)).await.unwrap();
    for id in [b"".as_slice(), b"x", b"seventeen bytes!!", &[0xff; 300]] {
        put(&stage, id, b"rubbish").await;
        redis
            .cli::<()>(&[b"ZADD", b"{lovage:default}:scheduled".as_slice(), b"1", id])
            .await
            .unwrap();
    }
    for list in [READY, "{lovage:default}:ready:9"] {
        for id in [TaskId::random().as_bytes().as_slice(), b"", b"y"] {
            redis
                .cli::<()>(&[b"RPUSH", list.as_bytes(), id])
                .await
                .unwrap();
        }
    }
    let mut worker = stage.worker().lease(secs(2)).spawn();
    for number in 0..3 {
        let handle = client.send(quick(number)).await.unwrap();
        assert_eq!(handle.wait(LIMIT).await.unwrap(), number);
    }
    assert_eq!(worker.ended(), None);
}

#[tokio::test]
async fn a_task_nobody_knows_and_a_newer_envelope_are_put_off_and_then_buried() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut newer = envelope(TaskId::random(), "quick", b"\x80")
        .encode()
        .unwrap()
        .bytes()
        .to_vec();
    newer[0] = 99;
    let newer_id = TaskId::try_from(&newer[6..22]).unwrap();
    put(&stage, newer_id.as_bytes(), &newer).await;
    let unknown = envelope(TaskId::random(), "nobody.knows", b"\x80");
    put(
        &stage,
        unknown.id.as_bytes(),
        unknown.encode().unwrap().bytes(),
    )
    .await;
    client.send(quick(0)).await.unwrap();
    let mut worker = stage.worker().flag("unknown-task-grace", "3s").spawn();

    for id in [newer_id, unknown.id] {
        eventually("put off", async || {
            stage.audit().await.has(id, Place::Facts).then_some(())
        })
        .await;
    }
    let handle = client.send(quick(3)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 3);
    for id in [newer_id, unknown.id] {
        eventually("buried", async || {
            stage.audit().await.has(id, Place::Dead).then_some(())
        })
        .await;
    }
    assert_eq!(worker.ended(), None);
}

#[tokio::test]
async fn a_body_that_panics_harms_nobody_else() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut worker = stage.worker().concurrency(2).spawn();
    let mut panics = Vec::new();
    for _ in 0..20 {
        panics.push(client.send(panic()).await.unwrap());
    }
    for handle in &panics {
        let error = handle.wait(LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("as it is told to"), "{error}");
        assert_eq!(stage.journal.starts(handle.id()).len(), 2);
    }
    let handle = client.send(quick(3)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 3);
    assert_eq!(worker.ended(), None);
}

#[tokio::test]
async fn resending_the_same_id_is_one_task() {
    let stage = stage().await;
    let client = stage.client().await;
    let id = TaskId::random();
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..50 {
        let client = client.clone();
        sends.spawn(async move { client.send(quick(number)).id(id).await.map(drop) });
    }
    while let Some(sent) = sends.join_next().await {
        sent.unwrap().unwrap();
    }
    stage.audit().await.check();
    let _workers = [stage.worker().spawn(), stage.worker().spawn()];
    stage.at_rest().await;
    assert_eq!(stage.journal.starts(id).len(), 1);
}
