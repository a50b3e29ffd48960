//! Repairs while producers send and workers run.

use std::collections::HashMap;
use std::sync::Arc;

use lovage::prelude::*;
use lovage::{Handle, When};
use lovage_test_redis::RedisServer;

use crate::{Kind, Stage, client, count, repair, server, worker};

const ROUNDS: u64 = 40;

fn q(name: &str) -> Vec<u8> {
    format!("{{lovage:default}}:{name}").into_bytes()
}

/// Breaks what belongs to tasks that wait, and leaves rubbish behind as of tasks that are gone.
async fn damage(server: &RedisServer, waiting: &[Handle<count>], round: u64) {
    let [lost, twice, orphan] = [0, 1, 2].map(|n| waiting[n].id());
    let none = format!("{round:016}").into_bytes();
    let worker = format!("{round:032x}");
    let later = b"4000000000000".to_vec();
    let words = [
        // In no place; in two; with a worker that nobody knows.
        vec![b"ZREM".to_vec(), q("scheduled"), lost.as_bytes().to_vec()],
        vec![b"RPUSH".to_vec(), q("ready:5"), twice.as_bytes().to_vec()],
        vec![b"ZREM".to_vec(), q("scheduled"), orphan.as_bytes().to_vec()],
        vec![
            b"HSET".to_vec(),
            q(&format!("active:{worker}")),
            orphan.as_bytes().to_vec(),
            b"1:1".to_vec(),
        ],
        vec![b"ZADD".to_vec(), q("scheduled"), later, none.clone()],
        vec![
            b"HSET".to_vec(),
            q("facts"),
            none.clone(),
            b"1:0:0".to_vec(),
        ],
        vec![b"HSET".to_vec(), q("locks"), none.clone(), b"x".to_vec()],
        vec![
            b"ZADD".to_vec(),
            q("callbacks"),
            b"1".to_vec(),
            none.clone(),
        ],
        vec![
            b"SET".to_vec(),
            q(&format!("unique:{worker}")),
            [&none[..], b"d:"].concat(),
        ],
        vec![
            b"HSET".to_vec(),
            q("reports"),
            format!("{:032x}", round + 999).into_bytes(),
            b"1:".to_vec(),
        ],
    ];
    for words in words {
        server.cli::<()>(&words).await.expect("it answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_under_load_lose_and_repeat_nothing() {
    let server = server().await;
    let client = client(&server).await;
    let stage = Arc::<Stage>::default();
    let worker = || worker(&client, &stage).lease(secs(2)).start();
    let workers = [worker().await.unwrap(), worker().await.unwrap()];
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            let mut sent = Vec::new();
            for round in 0..ROUNDS {
                let some = (0..100).map(|n| client.send(count()).countdown(ms((round + n) % 20)));
                let handles = client.send_all(some).await.expect("it answers");
                sent.extend(handles.iter().map(Handle::id));
            }
            sent
        }
    });

    let (mut sent, mut repaired) = (Vec::new(), 0);
    let mut kinds = HashMap::<Kind, u64>::new();
    for round in 0..ROUNDS {
        let waiting = (0..3).map(|_| client.send(count()).countdown(hours(1)));
        let waiting = client.send_all(waiting).await.unwrap();
        damage(&server, &waiting, round).await;
        sent.extend(waiting.iter().map(Handle::id));
        let report = repair(&client).await;
        assert_eq!(report.total(), report.repaired, "{report}");
        repaired += report.repaired;
        for (kind, count) in report.counted {
            *kinds.entry(kind).or_default() += count;
        }
    }
    sent.extend(sending.await.unwrap());
    // What the doctor keeps in the later of two places runs when somebody says so.
    for id in &sent {
        let handle = client.handle::<count>("default", *id).unwrap();
        handle.reschedule(When::In(ms(0))).await.unwrap();
    }
    let all_ran = async {
        while stage.runs.lock().unwrap().len() < sent.len() {
            tokio::time::sleep(ms(10)).await;
        }
    };
    let limit = tokio::time::timeout(secs(60), all_ran).await;
    assert!(
        limit.is_ok(),
        "{} of {}",
        stage.runs.lock().unwrap().len(),
        sent.len()
    );
    for worker in workers {
        worker.shutdown().await;
    }
    for id in &sent {
        assert_eq!(stage.runs.lock().unwrap()[id], 1, "{id}");
    }
    let report = repair(&client).await;
    assert!(report.is_healthy(), "{report}");
    assert_eq!(report.total(), 0, "{report}");
    for kind in [
        Kind::InNoPlace,
        Kind::NoEnvelope,
        Kind::StrayNote,
        Kind::StrayLock,
        Kind::StrayWorker,
        Kind::OrphanList,
    ] {
        assert!(
            ROUNDS <= kinds.get(&kind).copied().unwrap_or_default(),
            "{kind}: {kinds:?}"
        );
    }
    assert!(6 * ROUNDS <= repaired, "{repaired}");
}
