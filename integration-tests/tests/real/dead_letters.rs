//! Very many dead letters, while workers work.

use lovage::dead_letters::Filter;
use lovage_core::ms;
use lovage_integration_tests::tasks::fail;
use lovage_integration_tests::{Place, eventually, stays};

use crate::stage;

#[tokio::test]
async fn each_of_five_thousand_revived_dead_letters_runs_once() {
    const TASKS: usize = 5000;

    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let worker = stage.worker().concurrency(64);
    let _workers = [worker.spawn(), worker.spawn()];
    let sends = (0..TASKS).map(|_| fail(gate.path()));
    let handles = client.send_all(sends).await.unwrap();
    eventually("all are dead", async || {
        let counts = client.counts("default").await.unwrap();
        (counts.dead == TASKS as u64).then_some(())
    })
    .await;

    gate.open();
    let dead = client.dead_letters_of("default").unwrap();
    let revived = dead.revive_all(&Filter::new().task("fail")).await.unwrap();

    assert_eq!(revived, TASKS as u64);
    let audit = stage.at_rest().await;
    assert_eq!(audit.ids(Place::Dead).len(), 0);
    let (starts, ends) = (stage.journal.all_starts(), stage.journal.all_ends());
    for handle in &handles {
        assert_eq!(starts[&handle.id()].len(), 2, "{}", handle.id());
        assert_eq!(ends[&handle.id()].len(), 1, "{}", handle.id());
    }
    assert_eq!(dead.summary().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn a_flood_of_dead_letters_keeps_to_its_bound_and_is_counted() {
    const TASKS: u64 = 3000;
    const KEPT: u64 = 100;

    let stage = stage().await;
    let client = stage.client().await;
    let worker = stage
        .worker()
        .concurrency(64)
        .flag("dead-letters-max", &KEPT.to_string());
    let workers = [worker.spawn(), worker.spawn()];
    let dead = client.dead_letters_of("default").unwrap();
    eventually("the retention is set", async || {
        let summary = dead.summary().await.unwrap();
        (summary.retention.count == Some(KEPT)).then_some(())
    })
    .await;
    let gate = stage.gate("closed").path();
    let sends = (0..TASKS).map(|_| fail(gate.clone()));
    client.send_all(sends).await.unwrap();

    eventually("all have failed", async || {
        let summary = dead.summary().await.unwrap();
        assert!(summary.count <= KEPT, "{summary:?}");
        (summary.count + summary.cut == TASKS).then_some(())
    })
    .await;
    let summary = dead.summary().await.unwrap();
    assert_eq!((summary.count, summary.cut), (KEPT, TASKS - KEPT));
    let letters = dead.list(0, 1000).await.unwrap();
    let bytes: u64 = letters.iter().map(|letter| letter.size).sum();
    assert_eq!(summary.bytes, bytes);
    assert_eq!(stage.journal.all_starts().len() as u64, TASKS);
    assert!(
        workers
            .iter()
            .any(|worker| worker.says("dead letters were cut"))
    );
    stays("what is kept stays", ms(300), async || {
        dead.summary().await.unwrap().count == KEPT
    })
    .await;
}
