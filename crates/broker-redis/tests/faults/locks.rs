//! Locks that somebody has laid hands on, and what they cost those that have none.

use crate::common::{LEASE, claim, connect, done, dump, envelope, mail, send, worker};
use lovage_broker_redis::RedisBroker;
use lovage_core::{Broker, Conflict, EnqueueError, Enqueued, Envelope, Lock, LockKey, Until, secs};
use lovage_test_redis::RedisServer;

const KEY: &str = "{lovage:mail}:unique:07070707070707070707070707070707";

fn unique() -> Envelope {
    Envelope {
        unique: Some(Lock {
            key: LockKey::from_bytes([7; 16]),
            until: Until::Done,
            conflict: Conflict::Reject,
            ttl: None,
        }),
        ..envelope()
    }
}

async fn answer(broker: &RedisBroker, envelope: Envelope) -> Result<Enqueued, EnqueueError> {
    let call = vec![envelope.encode().unwrap()];
    Ok(broker.enqueue(&mail(), call).await?[0])
}

/// Peers leave the locks of a queue behind that was emptied.
#[tokio::test]
async fn a_key_whose_task_was_deleted_by_hand_holds_nothing() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let emptied: [&[&str]; 2] = [&["tasks"], &["tasks", "ready:5", "locks", "meta"]];
    for keys in emptied {
        let answered = answer(&broker, unique()).await.unwrap();
        assert_eq!(answered, Enqueued::New);
        for key in keys {
            let key = format!("{{lovage:mail}}:{key}");
            server.cli::<u8>(&["DEL", &key]).await.unwrap();
        }
        let answered = answer(&broker, unique()).await.unwrap();
        assert_eq!(answered, Enqueued::New);
        server
            .cli::<u8>(&["DEL", "{lovage:mail}:tasks"])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_stands_at_a_key_by_hand_holds_nothing_or_refuses_with_nothing_written() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    server.cli::<()>(&["SET", KEY, "rubbish"]).await.unwrap();
    let first = unique();
    assert_eq!(answer(&broker, first.clone()).await.unwrap(), Enqueued::New);

    // A task ends whatever became of its key.
    server.cli::<u8>(&["DEL", KEY]).await.unwrap();
    server.cli::<u8>(&["RPUSH", KEY, "rubbish"]).await.unwrap();
    let worker = worker(&broker).await;
    let held = claim(&broker, worker, 1).await;
    assert_eq!(held[0].id, first.id);
    let settled = broker.settle(worker, &mail(), vec![done(&held[0])]).await;
    assert_eq!(settled.unwrap().stale, []);

    let before = dump(&server).await;
    let refused = answer(&broker, unique()).await;
    assert!(
        matches!(refused, Err(EnqueueError::Misconfigured(_))),
        "{refused:?}"
    );
    assert_eq!(dump(&server).await, before);
}

#[tokio::test]
async fn locks_of_the_wrong_type_refuse_before_anything_is_written() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    answer(&broker, unique()).await.unwrap();
    let held = claim(&broker, worker, 1).await;
    answer(&broker, envelope()).await.unwrap();
    let locks = "{lovage:mail}:locks";
    server.cli::<u8>(&["DEL", locks]).await.unwrap();
    server.cli::<()>(&["SET", locks, "rubbish"]).await.unwrap();

    let before = dump(&server).await;
    assert!(answer(&broker, unique()).await.is_err());
    let claimed = broker
        .claim(worker, &mail(), crate::common::at_most(1))
        .await;
    assert!(claimed.is_err(), "{claimed:?}");
    let settled = broker.settle(worker, &mail(), vec![done(&held[0])]).await;
    assert!(settled.is_err(), "{settled:?}");
    assert_eq!(dump(&server).await, before);
    broker.renew(worker, &mail(), LEASE).await.unwrap();
}

#[tokio::test]
async fn spans_that_end_leave_nothing_in_redis() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let throttled = |lock: Lock| Lock {
        until: Until::Elapsed(secs(10)),
        ..lock
    };
    let once = Envelope {
        unique: unique().unique.map(throttled),
        remembered: Some(secs(10)),
        ..envelope()
    };
    answer(&broker, once).await.unwrap();
    let mut keys: Vec<String> = server.cli(&["KEYS", "*:once:*"]).await.unwrap();
    keys.push(KEY.to_owned());
    assert_eq!(keys.len(), 2);
    for key in keys {
        let ttl: u64 = server.cli(&["PTTL", &key]).await.unwrap();
        assert!((1..=70_000).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn a_plain_task_writes_no_key_of_a_lock() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    send(&broker, 3).await;
    let held = claim(&broker, worker, 3).await;
    let settlements = held.iter().map(done).collect();
    broker.settle(worker, &mail(), settlements).await.unwrap();
    let keys: Vec<String> = server.cli(&["KEYS", "*"]).await.unwrap();
    let of_locks = |key: &&String| {
        ["unique", "once", "locks"]
            .iter()
            .any(|part| key.contains(part))
    };
    assert_eq!(keys.iter().find(of_locks), None);
    let used: String = server
        .cli(&["HGET", "{lovage:mail}:meta", "used"])
        .await
        .unwrap();
    assert_eq!(used, "5");
}
