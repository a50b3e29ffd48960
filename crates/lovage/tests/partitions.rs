//! Queues with partitions, as a program meets them: one queue to its client and to its workers.

use lovage::PartitionError;
use lovage::prelude::*;
use lovage_test_redis::RedisServer;

#[task(queue = "hot")]
async fn double(n: u64) -> u64 {
    2 * n
}

async fn client(server: &RedisServer) -> Client {
    let client = Client::builder(server.url()).deadline(secs(60)).connect();
    client.await.expect("it answers")
}

/// Also by a worker that was there before the queue was divided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_run_all_of_a_partitioned_queue() {
    let server = RedisServer::start().await;
    let (divider, sender) = (client(&server).await, client(&server).await);
    let before = sender.worker().queues("hot").start().await.unwrap();
    divider.partition("hot", 8).await.unwrap();
    let after = divider.worker().queues("hot").start().await.unwrap();
    let handles = sender.send_all((0..300).map(double)).await.unwrap();
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.wait(secs(60)).await.unwrap(), 2 * n);
    }
    // An idle worker is woken whichever partition a task is in.
    for n in 0..20 {
        let handle = sender.send(double(n)).await.unwrap();
        assert_eq!(handle.wait(secs(60)).await.unwrap(), 2 * n);
    }
    before.shutdown().await;
    after.shutdown().await;
    let counts = sender.counts("hot").await.unwrap();
    assert_eq!((counts.ready, counts.active, counts.dead), (0, 0, 0));
}

#[tokio::test]
async fn what_some_partitions_refuse_is_told_apart_from_what_others_took() {
    let server = RedisServer::start().await;
    let client = client(&server).await;
    client.partition("hot", 4).await.unwrap();
    // 74 for each: with 297 some partition has more, and some has not.
    client.bound("hot", Some(296)).await.unwrap();
    let error = client.send_all((0..297).map(double)).await.unwrap_err();
    let counts = client.counts("hot").await.unwrap();
    assert_eq!(error.accepted.len() as u64, counts.ready, "{error}");
    assert_eq!(error.unknown, []);
    assert!(0 < counts.ready, "{error}");
}

#[tokio::test]
async fn a_division_that_is_refused_says_what_to_do() {
    let server = RedisServer::start().await;
    let client = client(&server).await;
    client.send(double(1)).await.unwrap();
    let error = client.partition("hot", 4).await.unwrap_err();
    assert!(
        matches!(&error, PartitionError::HoldsTasks { len: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("another name"), "{error}");
    client.partition("cold", 4).await.unwrap();
    client.partition("cold", 4).await.unwrap();
    let error = client.partition("cold", 8).await.unwrap_err();
    let PartitionError::Fixed {
        present, wanted, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((present, wanted), (4, 8));
    let error = client.partition("cold", 65).await.unwrap_err();
    assert!(error.to_string().contains("1 to 64"), "{error}");
}
