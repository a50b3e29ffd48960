//! Unique tasks, many producers, and workers that are killed.

use std::collections::BTreeSet;

use lovage::{Client, Handle, Place as State, Unique};
use lovage_core::{TaskId, ms};
use lovage_integration_tests::tasks::{hold_key, nap};
use lovage_integration_tests::{Place, Stage, eventually};
use tokio::task::JoinSet;

use crate::stage;

/// Whether anything is left of locks in the usual queue.
async fn locks(stage: &Stage) -> usize {
    let of = async |pattern: &str| {
        let keys: Vec<String> = stage.redis.cli(&["KEYS", pattern]).await.unwrap();
        keys.len()
    };
    of("{lovage:default}:unique:*").await + of("{lovage:default}:locks").await
}

#[tokio::test]
async fn the_key_of_a_killed_worker_lives_as_long_as_its_task() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("unique");
    let mut lost = stage.worker().lease(ms(1500)).spawn();
    let send = async || client.send(hold_key(7, gate.path())).await.unwrap();
    let first = send().await;
    assert!(first.is_new());
    stage.started(first.id(), 1).await;
    lost.kill9();
    let same = async || {
        let second = send().await;
        assert_eq!((second.id(), second.is_new()), (first.id(), false));
    };
    // While nobody has noticed, after it was taken back, and while it runs again.
    same().await;
    let _worker = stage.worker().lease(ms(1500)).spawn();
    stage.started(first.id(), 2).await;
    same().await;
    gate.open();
    stage.ended(first.id()).await;
    eventually("the key is free", async || {
        let next = send().await;
        next.is_new().then_some(())
    })
    .await;
    stage.at_rest().await;
    assert_eq!(locks(&stage).await, 0);
}

#[tokio::test]
async fn a_unique_task_that_kills_its_workers_frees_its_key_when_it_is_buried() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("never");
    let first = client.send(hold_key(7, gate.path())).await.unwrap();
    for start in 1..=3 {
        let mut worker = stage.worker().lease(ms(1500)).spawn();
        stage.started(first.id(), start).await;
        worker.kill9();
    }
    let _worker = stage.worker().lease(ms(1500)).spawn();
    eventually("the third loss buries it", async || {
        let dead = stage.audit().await.has(first.id(), Place::Dead);
        dead.then_some(())
    })
    .await;
    let second = client.send(hold_key(7, gate.path())).await.unwrap();
    assert!(second.is_new());
    gate.open();
    stage.ended(second.id()).await;
}

/// Producers with connections of their own race on few keys while workers run what they send.
#[tokio::test]
async fn of_many_concurrent_senders_one_has_the_key() {
    const SENDERS: usize = 8;
    const ROUNDS: u64 = 100;

    let stage = stage().await;
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..SENDERS {
        clients.push(stage.client().await);
    }
    for round in 0..ROUNDS {
        let mut sends = JoinSet::new();
        for client in &clients {
            let send = client.send(nap(round)).unique(Unique::args());
            sends.spawn(async move { send.await.unwrap() });
        }
        let handles = sends.join_all().await;
        let ids: BTreeSet<TaskId> = handles.iter().map(Handle::id).collect();
        assert_eq!(ids.len(), 1, "{handles:?}");
        let new = handles.iter().filter(|handle| handle.is_new()).count();
        assert_eq!(new, 1, "{handles:?}");
        assert_eq!(handles[0].state().await.unwrap(), State::Ready);
    }
    let ready = stage.audit().await.ids(Place::Ready);
    assert_eq!(ready.len() as u64, ROUNDS);
    let _worker = stage.worker().spawn();
    stage.at_rest().await;
    assert_eq!(locks(&stage).await, 0);
}
