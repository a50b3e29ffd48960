//! What is sent again from the spool, and what is not.

use std::sync::atomic::{AtomicU32, Ordering};

use lovage::prelude::*;
use lovage::{SendError, TaskId};
use lovage_test_redis::Fault;

use crate::{Stage, emptied, eventually, ship, spool};

static RUNS: AtomicU32 = AtomicU32::new(0);

#[task(ack_early)]
async fn ring_the_bell() {}

#[task]
async fn count_a_run() {
    RUNS.fetch_add(1, Ordering::SeqCst);
}

async fn waiting(client: &Client, queue: &str) -> u64 {
    let counts = client.counts(queue).await;
    counts.expect("the server answers").ready
}

#[tokio::test]
async fn an_at_most_once_send_in_doubt_is_never_sent_again() {
    let stage = Stage::start().await;
    let client = stage.hurried(secs(1)).await;
    // In doubt from the start: the caller's to know of.
    stage.proxy.set(Fault::DropReplies);
    let unknown = client.send(ring_the_bell()).await;
    assert!(
        matches!(unknown, Err(SendError::Unknown { .. })),
        "{unknown:?}"
    );
    assert_eq!(spool(&client).stats().tasks, 0);
    // Refused, so it is spooled; then it is in doubt on its way out of the spool, as Redis holds the script.
    stage.close();
    let sent = loop {
        match client.send(ring_the_bell()).await {
            Ok(sent) => break sent,
            // Written to the connection that was just closed.
            Err(SendError::Unknown { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(sent.is_spooled());
    let pause = ["CLIENT", "PAUSE", "600000", "WRITE"];
    stage.server.cli::<()>(&pause).await.unwrap();
    stage.open();
    eventually("the script is held", async || stage.held().await == 1).await;
    eventually("it was given up", async || stage.held().await == 0).await;
    stage
        .server
        .cli::<()>(&["CLIENT", "UNPAUSE"])
        .await
        .unwrap();
    let spool = spool(&client);
    emptied(&client).await;
    let aside = spool.set_aside(10).await.unwrap();
    let [aside] = aside.as_slice() else {
        panic!("{aside:?}");
    };
    assert_eq!(aside.id, Some(sent.id()));
    assert!(aside.reason.contains("at most once"), "{}", aside.reason);

    // Somebody who knows better sends it again, or deletes it.
    assert!(spool.put_back(&aside.queue, aside.number).await.unwrap());
    emptied(&client).await;
    assert_eq!(spool.stats().aside, 0);
    assert!(stage.ready("default").await.contains(&sent.id()));
    assert!(!spool.discard(&aside.queue, aside.number).await.unwrap());
}

#[tokio::test]
async fn a_broker_that_is_away_leaves_no_at_most_once_task_in_doubt() {
    let stage = Stage::start().await;
    stage.close();
    let client = stage.client().await;
    let sent = client.send(ring_the_bell()).await.unwrap().id();
    assert_eq!(spool(&client).stats().tasks, 1);
    let before = stage.connections().await;
    stage.proxy.set(Fault::DropReplies);
    // One is that of the question.
    eventually("the task is to be sent", async || {
        before + 2 < stage.connections().await
    })
    .await;
    drop(client);
    stage.open();
    let client = stage.client().await;
    emptied(&client).await;
    assert_eq!(spool(&client).stats().aside, 0);
    assert_eq!(stage.ready("default").await, [sent]);
}

#[tokio::test]
async fn what_is_stored_and_not_confirmed_is_one_task_however_often_it_is_sent() {
    let stage = Stage::start().await;
    let client = stage.client().await;
    stage.close();
    let wanted = Durability::replicas(1).within(ms(20));
    let charge = client.send(count_a_run()).durable(wanted).await.unwrap();
    let bell = client.send(ring_the_bell()).queue("bells").durable(wanted);
    let bell = bell.await.unwrap();
    assert!(charge.is_spooled() && bell.is_spooled());
    stage.open();

    let observer = stage.observer().await;
    let worker = observer.worker().queues("default").start().await.unwrap();
    eventually("it has run", async || 0 < RUNS.load(Ordering::SeqCst)).await;
    let asked = stage.questions().await;
    eventually("it was sent again", async || {
        asked + 2 < stage.questions().await
    })
    .await;
    assert_eq!(spool(&client).stats().tasks, 1);
    let replica = stage.server.replica().await;
    emptied(&client).await;
    worker.shutdown().await;
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
    drop(replica);

    let aside = spool(&client).set_aside(10).await.unwrap();
    let aside: Vec<_> = aside.iter().map(|one| (one.id, &*one.reason)).collect();
    let [(Some(id), reason)] = aside[..] else {
        panic!("{aside:?}");
    };
    assert_eq!(id, bell.id());
    assert!(reason.contains("not confirmed"), "{reason}");
}

#[tokio::test]
async fn of_a_divided_queue_that_is_full_in_part_what_was_taken_leaves_the_spool() {
    let stage = Stage::start().await;
    let observer = stage.observer().await;
    for queue in ["sent", "spooled"] {
        observer.partition(queue, 2).await.unwrap();
        observer.bound(queue, Some(20)).await.unwrap();
    }
    let client = stage.client().await;
    // The last four bytes decide: all but the last belong into one partition.
    let id = |n: u128| TaskId::from_bytes((n << 32 | u128::from(n == 19)).to_be_bytes());
    let ids: Vec<TaskId> = (0..20).map(id).collect();
    let (client, ids) = (&client, &ids);
    let sendings = |queue: &'static str| {
        let sending = move |id: &TaskId| client.send(ship(1)).queue(queue).id(*id);
        ids.iter().map(sending)
    };

    // Sent to the broker: the caller knows what was taken, and nothing of it is kept here as well.
    let refused = client.send_all(sendings("sent")).await.unwrap_err();
    assert!(
        matches!(refused.source, SendError::QueueFull { .. }),
        "{refused:?}"
    );
    // A partition takes its part whole or not at all.
    assert_eq!(refused.accepted, ids[19..]);
    assert_eq!(waiting(&observer, "sent").await, 1);
    assert_eq!(spool(client).stats().tasks, 0);

    // Sent by way of the spool.
    stage.close();
    client.send_all(sendings("spooled")).await.unwrap();
    assert_eq!(spool(client).stats().tasks, 20);
    stage.open();
    // Each partition holds half of the bound.
    eventually("what fits has left", async || {
        spool(client).stats().tasks == 9
    })
    .await;
    assert_eq!(waiting(&observer, "spooled").await, 11);
    observer.bound("spooled", None).await.unwrap();
    emptied(client).await;
    assert_eq!(waiting(&observer, "spooled").await, 20);
}
