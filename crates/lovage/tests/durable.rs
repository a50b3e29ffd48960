//! Sends that replicas confirm, with one that follows, one that is frozen, none, and one that takes over; or disks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lovage::prelude::*;
use lovage::{Durability, Place, SendError, TaskId};
use lovage_test_redis::RedisServer;
use tokio::task::JoinSet;

#[task]
async fn charge(order: u64) -> u64 {
    order
}

/// What a test does not wait out.
const LONG: Duration = secs(20);
/// What a test waits out.
const SHORT: Duration = ms(100);
const ON_A_REPLICA: Durability = Durability::replicas(1).within(LONG);

/// A client with a deadline that no test waits out.
async fn client(server: &RedisServer) -> Client {
    let client = Client::builder(server.url()).deadline(secs(60)).connect();
    client.await.expect("it answers")
}

/// How often the server was asked for a confirmation, by `wait` or `waitaof`.
async fn questions(server: &RedisServer, command: &str) -> u64 {
    let stats: String = server
        .cli(&["INFO", "commandstats"])
        .await
        .expect("it answers");
    let calls = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&calls));
    line.and_then(|line| line.split(',').next()?.parse().ok())
        .unwrap_or(0)
}

/// Waits until the server has been asked for a confirmation that it cannot give yet.
async fn until_one_waits(server: &RedisServer) {
    loop {
        let info: String = server.cli(&["INFO", "clients"]).await.expect("it answers");
        if info.lines().any(|line| line == "blocked_clients:1") {
            return;
        }
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn a_send_is_confirmed_by_a_replica_that_follows() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let client = client(&primary).await;

    let one = client.send(charge(1)).durable(ON_A_REPLICA).await.unwrap();
    let many = (2..=5).map(|order| client.send(charge(order)).durable(ON_A_REPLICA));
    let many = client.send_all(many).await.unwrap();

    assert_eq!(one.state().await.unwrap(), Place::Ready);
    assert_eq!(many.len(), 4);
    // Nothing more is waited for: what was confirmed is there.
    let stored: u64 = replica
        .cli(&["HLEN", "{lovage:default}:tasks"])
        .await
        .unwrap();
    assert_eq!(stored, 5);
}

#[tokio::test]
async fn what_no_replica_confirms_in_time_is_stored_and_says_so() {
    let primary = RedisServer::start().await;
    let client = client(&primary).await;
    let wanted = Durability::replicas(1).within(SHORT);
    let id = TaskId::random();
    for _ in 0..2 {
        let error = client.send(charge(1)).id(id).durable(wanted).await;
        let Err(SendError::NotConfirmed { id: said, by, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!((said, by.replicas), (id, 0));
        let handle = client.handle::<charge>("default", id).unwrap();
        assert_eq!(handle.state().await.unwrap(), Place::Ready);
    }
    let many = (0..3).map(|order| client.send(charge(order)).durable(wanted));
    let error = client.send_all(many).await.unwrap_err();
    assert_eq!(error.unconfirmed.len(), 3, "{error:?}");
    assert_eq!(client.counts("default").await.unwrap().ready, 4);
}

#[tokio::test]
async fn plain_sends_never_wait_behind_a_confirmation() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let client = client(&primary).await;
    replica.pause();
    let waits = client.send(charge(0)).durable(ON_A_REPLICA).into_future();
    let waits = tokio::spawn(waits);
    until_one_waits(&primary).await;

    for order in 1..=200 {
        client.send(charge(order)).await.unwrap();
    }
    client.send_all((0..200).map(charge)).await.unwrap();
    // Another queue's confirmation fails by itself, and does not queue behind the first.
    let wanted = Durability::replicas(1).within(SHORT);
    let other = client.send(charge(9)).queue("other").durable(wanted).await;
    assert!(matches!(other, Err(SendError::NotConfirmed { .. })));

    assert!(!waits.is_finished(), "it was confirmed by a frozen replica");
    replica.resume();
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_duplicate_is_confirmed_anew() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let client = client(&primary).await;
    let wanted = Durability::replicas(1).within(SHORT);
    let id = TaskId::random();
    replica.pause();
    client.send(charge(1)).id(id).await.unwrap();
    for _ in 0..3 {
        let again = client.send(charge(1)).id(id).durable(wanted).await;
        assert!(
            matches!(again, Err(SendError::NotConfirmed { .. })),
            "{again:?}"
        );
    }
    replica.resume();
    let again = client.send(charge(1)).id(id).durable(ON_A_REPLICA).await;
    again.unwrap();
    assert_eq!(client.counts("default").await.unwrap().ready, 1);
}

#[tokio::test]
async fn sends_that_meet_are_confirmed_together() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let client = client(&primary).await;
    replica.pause();
    let before = questions(&primary, "wait").await;
    let mut sends = JoinSet::new();
    for order in 0..500 {
        sends.spawn(
            client
                .send(charge(order))
                .durable(ON_A_REPLICA)
                .into_future(),
        );
    }
    until_one_waits(&primary).await;
    replica.resume();
    for sent in sends.join_all().await {
        sent.unwrap();
    }
    // The first alone, the others together; for each a question whether it can be asked.
    let asked = questions(&primary, "wait").await - before;
    assert!(asked <= 10, "{asked} questions for 500 sends");
}

/// Whether the server is too old for confirmations on disk: then it must refuse, and store nothing.
async fn refuses_fsync(server: &RedisServer, client: &Client) -> bool {
    let knows = server.cli::<Vec<u64>>(&["WAITAOF", "0", "0", "1"]).await;
    if knows.is_ok() {
        return false;
    }
    let sent = client.send(charge(0)).durable(Durability::NONE.fsync());
    let sent = sent.await;
    assert!(matches!(sent, Err(SendError::Misconfigured(_))), "{sent:?}");
    let counts = client.counts("default").await.expect("it answers");
    assert_eq!(counts.ready, 0);
    true
}

#[tokio::test]
async fn a_confirmation_on_disk_is_given_or_refused_before_anything_is_stored() {
    let primary = RedisServer::builder().appendonly("everysec").start().await;
    let client = client(&primary).await;
    if refuses_fsync(&primary, &client).await {
        return;
    }
    let before = questions(&primary, "waitaof").await;
    let wanted = Durability::NONE.fsync().within(LONG);
    client.send(charge(1)).durable(wanted).await.unwrap();
    // Whether it can be asked, and whether it is there.
    assert_eq!(questions(&primary, "waitaof").await - before, 2);
}

#[tokio::test]
async fn a_server_that_never_syncs_confirms_nothing_on_disk() {
    let primary = RedisServer::builder().appendonly("no").start().await;
    let client = client(&primary).await;
    if refuses_fsync(&primary, &client).await {
        return;
    }
    let wanted = Durability::NONE.fsync().within(SHORT);
    let error = client.send(charge(1)).durable(wanted).await.unwrap_err();
    let SendError::NotConfirmed { by, .. } = error else {
        panic!("{error:?}");
    };
    assert!(!by.fsynced);
    assert_eq!(client.counts("default").await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_replica_confirms_on_disk_where_it_keeps_a_file() {
    let primary = RedisServer::builder().appendonly("always").start().await;
    let client = client(&primary).await;
    if refuses_fsync(&primary, &client).await {
        return;
    }
    let replica = primary.replica().await;
    let wanted = Durability::replicas(1).fsync();
    let without = client.send(charge(1)).durable(wanted.within(SHORT)).await;
    let Err(SendError::NotConfirmed { by, .. }) = without else {
        panic!("{without:?}");
    };
    assert_eq!((by.replicas, by.fsynced), (0, true));

    let keep_one = ["CONFIG", "SET", "appendonly", "yes"];
    replica.cli::<()>(&keep_one).await.unwrap();
    client
        .send(charge(2))
        .durable(wanted.within(LONG))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_keeps_no_file_confirms_nothing_on_disk() {
    let primary = RedisServer::start().await;
    let client = client(&primary).await;
    let sent = client
        .send(charge(1))
        .durable(Durability::NONE.fsync())
        .await;
    let Err(SendError::Misconfigured(error)) = sent else {
        panic!("{sent:?}");
    };
    assert!(error.to_string().contains("appendonly yes"), "{error}");
    assert_eq!(client.counts("default").await.unwrap().ready, 0);
}

#[tokio::test]
async fn what_a_client_asks_for_a_send_may_waive() {
    let primary = RedisServer::start().await;
    let wanted = Durability::replicas(1).within(SHORT);
    let client = Client::builder(primary.url()).durable(wanted).connect();
    let client = client.await.unwrap();
    let asks = client.send(charge(1)).await;
    assert!(matches!(asks, Err(SendError::NotConfirmed { .. })));
    client
        .send(charge(2))
        .durable(Durability::NONE)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_broker_in_memory_confirms_what_it_stores() {
    let client = Client::connect("memory://").await.unwrap();
    let wanted = Durability::replicas(2).fsync();
    client.send(charge(1)).durable(wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_send_survives_a_failover() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let client = client(&primary).await;
    let confirmed = Arc::new(Mutex::new(BTreeSet::new()));
    let mut senders = JoinSet::new();
    for order in 0..8 {
        let (client, confirmed) = (client.clone(), Arc::clone(&confirmed));
        senders.spawn(async move {
            loop {
                let wanted = Durability::replicas(1).within(ms(20));
                match client
                    .send(charge(order))
                    .durable(wanted)
                    .deadline(secs(1))
                    .await
                {
                    Ok(handle) => confirmed.lock().unwrap().insert(handle.id()),
                    Err(SendError::NotConfirmed { .. }) => continue,
                    Err(_the_primary_is_gone) => return,
                };
            }
        });
    }
    // A replica that lags again and again, and is behind or not when the primary dies.
    let count = || confirmed.lock().unwrap().len();
    for _ in 0..5 {
        let before = count();
        while count() < before + 50 {
            tokio::time::sleep(ms(1)).await;
        }
        replica.pause();
        tokio::time::sleep(ms(fastrand::u64(0..40))).await;
        replica.resume();
    }
    primary.kill9();
    replica.promote().await;
    while senders.join_next().await.is_some() {}

    let client = self::client(&replica).await;
    let confirmed = confirmed.lock().unwrap().clone();
    for id in &confirmed {
        let handle = client.handle::<charge>("default", *id).unwrap();
        assert_eq!(handle.state().await.unwrap(), Place::Ready, "{id} is lost");
    }
}
