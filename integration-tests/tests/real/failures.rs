//! Tasks that fail for good, whoever buries them, and runs that write too late.

use lovage::FailureKind;
use lovage_core::{Owed, TaskId, ms};
use lovage_integration_tests::tasks::{abort, doomed, report, write_fenced};
use lovage_integration_tests::{Event, Stage, eventually};

use crate::stage;

/// The id that the callback for the only dead letter has.
async fn callback_of(stage: &Stage, id: TaskId) -> TaskId {
    let letter = eventually("it is dead", async || {
        let letters = stage.dead_letters().await.into_iter();
        letters.into_iter().find(|letter| letter.id == id)
    })
    .await;
    let owed = Owed { letter, losses: 0 };
    owed.callback().expect("it names a callback").id
}

async fn owed(stage: &Stage) -> u64 {
    owed_in(stage, "default").await
}

async fn owed_in(stage: &Stage, queue: &str) -> u64 {
    let key = format!("{{lovage:{queue}}}:callbacks");
    let owed = stage.redis.cli(&["ZCARD", &key]).await;
    owed.expect("the server answers")
}

#[tokio::test]
async fn a_final_failure_calls_back() {
    let stage = stage().await;
    let client = stage.client().await;
    let worker = stage.worker().spawn();
    let id = client.send(doomed()).await.unwrap().id();
    let callback = callback_of(&stage, id).await;
    stage.started(callback, 1).await;
    eventually("it is owed no more", async || {
        (owed(&stage).await == 0).then_some(())
    })
    .await;
    let letter = stage.dead_letters().await.remove(0);
    let run = letter.failure.run.unwrap();
    assert_eq!(
        (run.attempt, run.losses, run.pid),
        (Some(1), Some(0), Some(worker.pid()))
    );
    assert!(
        run.claimed_at.unwrap() <= letter.died_at && run.worker.is_some(),
        "{run:?}"
    );
    assert_eq!(stage.journal.starts(callback).len(), 1);
}

/// The queue takes nothing more, so the worker that has buried the task cannot send before it is killed.
#[tokio::test]
async fn a_callback_is_sent_by_another_worker_where_its_own_is_killed() {
    let stage = stage().await;
    let client = stage.client().await;
    let bound = ["HSET", "{lovage:default}:meta", "bound", "1"];
    stage.redis.cli::<u64>(&bound).await.unwrap();
    let mut first = stage.worker().spawn();
    let id = client.send(doomed()).await.unwrap().id();
    let callback = callback_of(&stage, id).await;
    assert_eq!(owed(&stage).await, 1);
    first.kill9();
    let unbound = ["HDEL", "{lovage:default}:meta", "bound"];
    stage.redis.cli::<u64>(&unbound).await.unwrap();
    let _second = stage.worker().spawn();
    stage.started(callback, 1).await;
    eventually("it is owed no more", async || {
        (owed(&stage).await == 0).then_some(())
    })
    .await;
    assert_eq!(stage.journal.starts(callback).len(), 1);
}

#[tokio::test]
async fn callbacks_that_some_partitions_took_are_owed_no_more() {
    const TASKS: u64 = 16;
    let stage = stage().await;
    let client = stage.client().await;
    client.partition("default", 4).await.unwrap();
    client.bound("default", Some(4)).await.unwrap();
    let _worker = stage.worker().queues("doom").spawn();
    for _ in 0..TASKS {
        client.send(doomed()).queue("doom").await.unwrap();
    }
    eventually("all partitions are full", async || {
        let ready = client.counts("default").await.unwrap().ready;
        (ready == 4).then_some(())
    })
    .await;
    eventually("the others are owed", async || {
        (owed_in(&stage, "doom").await == TASKS - 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_task_that_recovery_buries_is_called_back_for() {
    let stage = stage().await;
    let client = stage.client().await;
    let id = client.send(abort()).on_failure(report).await.unwrap().id();
    for losses in 1..=3 {
        let mut killed = stage.worker().spawn();
        stage.started(id, losses).await;
        killed.end().await;
    }
    let _survivor = stage.worker().spawn();
    let callback = callback_of(&stage, id).await;
    stage.started(callback, 1).await;
    let letter = stage.dead_letters().await.remove(0);
    let run = letter.failure.run.unwrap();
    assert_eq!(
        (letter.failure.kind, run.losses, run.attempt),
        (FailureKind::Lost, Some(3), Some(1))
    );
    assert!(run.worker.is_some() && run.claimed_at.is_some(), "{run:?}");
}

#[tokio::test]
async fn a_stale_write_is_refused_by_its_fence() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("write");
    let path = stage.folder().join("orders.sqlite");
    let database = rusqlite::Connection::open(&path).unwrap();
    let table =
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, state TEXT NOT NULL, fence BIGINT NOT NULL)";
    database.execute(table, ()).unwrap();
    let path = path.to_str().unwrap();
    let frozen = stage.worker().lease(ms(1500)).spawn();
    let task = write_fenced(gate.path(), path, stage.redis.url());
    let id = client.send(task).await.unwrap().id();
    stage.started(id, 1).await;
    frozen.freeze();
    let other = stage.worker().lease(ms(1500)).spawn();
    gate.open_for(1);
    stage.ended(id).await;

    gate.open_for(0);
    frozen.thaw();
    let refused = eventually("the late write is refused", async || {
        stage.journal.of_kind(id, Event::Cancelled).pop()
    })
    .await;
    assert_eq!(refused.pid, frozen.pid());
    assert_eq!(stage.journal.ends(id)[0].pid, other.pid());
    let stored: String = database
        .query_row("SELECT state FROM orders", (), |row| row.get(0))
        .unwrap();
    let set: String = stage.redis.cli(&["GET", "order:1"]).await.unwrap();
    assert_eq!((&*stored, &*set), ("1", "1"), "what the second run wrote");
}
