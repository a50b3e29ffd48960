//! Divisions: among sends, cut short, and taken back by a failover.

use lovage_core::{
    Broker, Cancelled, Control, Counts, DeadLetters, Delivery, Failure, FailureKind, Inspect,
    Partitioned, Partitioning, Partitions, Place, Revived, Schedules, Settlement, TaskId, Verdict,
};
use lovage_test_redis::RedisServer;

use crate::beats;
use crate::common::{claim, connect, done, mail, send, soon, worker};
use crate::partitions::{divide, of, stored, tag};

const META: &str = "{lovage:mail}:meta";

async fn bounds(server: &RedisServer) -> Vec<Option<u64>> {
    let mut bounds = Vec::new();
    for number in 0..4 {
        let meta = format!("{}:meta", tag(number));
        let bound: Option<u64> = server.cli(&["HGET", &meta, "bound"]).await.unwrap();
        bounds.push(bound);
    }
    bounds
}

/// Many send, by handles that do not know, while somebody divides the queue: it is divided before the first task or not
/// at all, and every task is where its id says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_division_among_sends_misplaces_nothing() {
    for _ in 0..20 {
        let server = RedisServer::start().await;
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let broker = connect(&server).await;
            senders.spawn(async move {
                for count in [1, 3, 1, 5] {
                    send(&broker, count).await;
                }
            });
        }
        let divider = connect(&server).await;
        let answer = divider.partition(&mail(), of(8)).await.unwrap();
        soon("end of the sends", senders.join_all()).await;
        let partitions = divider.partitions(&mail()).await.unwrap();
        match answer {
            Partitioned::Done => assert_eq!(partitions, of(8)),
            Partitioned::HoldsTasks { .. } => assert_eq!(partitions, Partitions::ONE),
            other => panic!("nobody else divides it, and nothing is remembered: {other:?}"),
        }
        let mut found = 0;
        for number in 0..partitions.get() {
            for id in stored(&server, number).await {
                assert_eq!(partitions.of(id), number, "{id}");
                found += 1;
            }
        }
        assert_eq!(found, 40);
        assert_eq!(divider.counts(&mail()).await.unwrap().ready, 40);
    }
}

/// As where the program that divides a queue is killed before each partition has its share of the bound.
#[tokio::test]
async fn a_division_that_was_cut_shares_the_bound_out_when_it_is_said_again() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    broker.bound(&mail(), Some(1000)).await.unwrap();
    let meta = format!("{}:meta", tag(2));
    server.cli::<()>(&["SET", &meta, "x"]).await.unwrap();
    broker.partition(&mail(), of(4)).await.unwrap_err();
    server.cli::<()>(&["DEL", &meta]).await.unwrap();
    divide(&broker, 4).await;
    assert_eq!(bounds(&server).await, [Some(250); 4]);
    // Once and no more: it is a bound like any other from then on.
    for (whole, share) in [(Some(80), Some(20)), (None, None)] {
        broker.bound(&mail(), whole).await.unwrap();
        divide(&connect(&server).await, 4).await;
        assert_eq!(bounds(&server).await, [share; 4]);
    }
}

/// As a failover does that takes back what the primary had not passed on.
async fn take_back(server: &RedisServer) {
    let gone = ["HDEL", META, "partitions", "whole"];
    assert_eq!(server.cli::<u64>(&gone).await.unwrap(), 2);
}

#[tokio::test]
async fn a_division_that_a_failover_took_back_is_written_again() {
    let server = RedisServer::start().await;
    let (knowing, new) = (connect(&server).await, connect(&server).await);
    divide(&knowing, 4).await;
    let mut sent = send(&knowing, 40).await;
    take_back(&server).await;
    // Who comes now takes it for undivided.
    let late = send(&new, 20).await;
    let misplaced: Vec<TaskId> = late
        .iter()
        .copied()
        .filter(|id| of(4).of(*id) != 0)
        .collect();
    assert!(stored(&server, 0).await.contains(&misplaced[0]));
    sent.extend(late);

    assert_eq!(knowing.counts(&mail()).await.unwrap().ready, 60);
    for handle in [&knowing, &new] {
        assert_eq!(handle.partitions(&mail()).await.unwrap(), of(4));
        for id in &sent {
            let place = handle.state(&mail(), *id).await.unwrap();
            assert_eq!(place, Place::Ready, "{id}");
        }
    }
    let cancelled = knowing.cancel(&mail(), misplaced[0]).await.unwrap();
    assert_eq!(cancelled, Cancelled::Removed);
    let worker = worker(&new).await;
    let mut held = claim(&new, worker, 100).await;
    held.extend(claim(&new, worker, 100).await);
    let mut ids: Vec<TaskId> = held.iter().map(|held| held.id).collect();
    sent.retain(|id| *id != misplaced[0]);
    ids.sort_unstable();
    sent.sort_unstable();
    assert_eq!(ids, sent);
    let is_stray = |held: &&Delivery| misplaced.contains(&held.id);
    let strays: Vec<TaskId> = held.iter().filter(is_stray).map(|held| held.id).collect();
    let verdict = |held| {
        if is_stray(&held) {
            bury(held)
        } else {
            done(held)
        }
    };
    let verdicts = held.iter().map(verdict).collect();
    let settled = new.settle(worker, &mail(), verdicts).await;
    assert_eq!(settled.unwrap().stale, []);
    assert_eq!(new.counts(&mail()).await.unwrap().active, 0);
    let revived = new.revive_many(&mail(), strays.clone()).await.unwrap();
    assert_eq!(revived, vec![Revived::Ready; strays.len()]);
    for held in claim(&new, worker, 100).await {
        new.settle(worker, &mail(), vec![bury(&held)])
            .await
            .unwrap();
    }
    let purged = new.purge(&mail(), strays.clone()).await.unwrap();
    assert_eq!(purged, vec![true; strays.len()]);
    assert_eq!(new.counts(&mail()).await.unwrap(), Counts::default());
}

fn bury(held: &Delivery) -> Settlement {
    Settlement {
        verdict: Verdict::Bury(Failure::new(FailureKind::Error, "no")),
        ..done(held)
    }
}

#[tokio::test]
async fn each_verb_of_who_knows_a_division_writes_it_again() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    beats::stored(&broker, None, 20).await;
    let batch = beats::outbox(&broker).await;
    let worker = worker(&broker).await;
    let division = async || {
        server
            .cli::<Option<String>>(&["HGET", META, "partitions"])
            .await
    };
    let before = division().await.unwrap();
    for verb in 0..6 {
        take_back(&server).await;
        match verb {
            0 => drop(claim(&broker, worker, 1).await),
            1 => drop(broker.counts(&mail()).await.unwrap()),
            // Of these at least one goes to the first partition.
            2 => drop(send(&broker, 100).await),
            3 => drop(broker.forward(&mail(), batch.clone()).await.unwrap()),
            4 => drop(broker.state(&mail(), TaskId::random()).await.unwrap()),
            _ => drop(broker.partitions(&mail()).await.unwrap()),
        }
        assert_eq!(division().await.unwrap(), before, "verb {verb}");
    }
}

#[tokio::test]
async fn a_claim_that_brings_something_writes_the_division_again_as_well() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    let worker = worker(&broker).await;
    while stored(&server, 1).await.len() < 8 {
        send(&broker, 4).await;
    }
    take_back(&server).await;
    let late = send(&connect(&server).await, 1).await;
    let held = claim(&broker, worker, 8).await;
    assert_ne!(held, []);
    let mut found = claim(&broker, worker, 100).await;
    found.extend(held);
    assert!(found.iter().any(|held| held.id == late[0]));
}

#[tokio::test]
async fn a_division_that_is_written_again_shares_the_bound_out_again() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    broker.bound(&mail(), Some(1000)).await.unwrap();
    divide(&broker, 4).await;
    take_back(&server).await;
    let whole = ["HSET", META, "bound", "1000"];
    server.cli::<()>(&whole).await.unwrap();
    let other = format!("{}:meta", tag(2));
    server.cli::<()>(&["RENAME", &other, "away"]).await.unwrap();
    server.cli::<()>(&["SET", &other, "x"]).await.unwrap();
    // It is no reason to refuse an answer.
    assert_eq!(broker.partitions(&mail()).await.unwrap(), of(4));
    server.cli::<()>(&["RENAME", "away", &other]).await.unwrap();
    divide(&broker, 4).await;
    assert_eq!(bounds(&server).await, [Some(250); 4]);
}

/// A forwarder that was frozen since before the division wakes when its tasks have run long since.
#[tokio::test]
async fn a_late_forward_of_before_a_division_stores_nothing() {
    let server = RedisServer::start().await;
    let (broker, frozen) = (connect(&server).await, connect(&server).await);
    beats::stored(&broker, None, 20).await;
    let batch = beats::outbox(&broker).await;
    assert_eq!(batch.len(), 20);
    assert_eq!(
        frozen.forward(&mail(), batch.clone()).await.unwrap().stored,
        20
    );
    let worker = worker(&broker).await;
    let held = claim(&broker, worker, 100).await;
    let settled = held.iter().map(done).collect();
    broker.settle(worker, &mail(), settled).await.unwrap();
    divide(&broker, 8).await;
    for handle in [&frozen, &broker] {
        let late = handle.forward(&mail(), batch.clone()).await.unwrap();
        assert_eq!((late.stored, late.known), (0, 20));
    }
    let counts = broker.counts(&mail()).await.unwrap();
    assert_eq!(counts, lovage_core::Counts::default());
}
