//! What is true on one server is true behind sentinels, on a cluster, and of a queue in parts.

use std::sync::Arc;

use lovage::doctor::FindingKind as Kind;
use lovage::prelude::*;
use lovage_test_redis::{Cluster, RedisServer, Sentinels};

use crate::{Report, kinds, refresh, worker};

/// No spurious failover, however busy the machine is.
const NODE_TIMEOUT: std::time::Duration = secs(15);
const PARTS: usize = 4;

#[task(queue = "hot")]
async fn double(n: u64) -> u64 {
    2 * n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_follows_sentinels() {
    let server = RedisServer::builder().appendonly("everysec");
    let site = Sentinels::start(server, 1).await;
    let client = connect(&site.url()).await;
    is_repaired(&client, async |_| site.primary().await).await;
    let old = site.primary().await.port();
    let new = site.fail_over().await;
    assert_ne!(old, new.port());
    is_repaired(&client, async |_| new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_all_nodes_of_a_cluster() {
    let cluster = Cluster::start(NODE_TIMEOUT).await;
    let client = connect(&cluster.url()).await;
    let owner = async |tag: &str| cluster.owner(cluster.slot(tag).await).await;
    is_repaired(&client, owner).await;
    let slot = cluster.slot("{lovage:hot#1}").await;
    cluster.fail_over(slot).await;
    cluster.until_whole().await;
    is_repaired(&client, owner).await;
}

async fn connect(url: &str) -> Client {
    let client = Client::builder(url).deadline(secs(60)).connect().await;
    let client = client.expect("it answers");
    client.partition("hot", PARTS as u64).await.unwrap();
    client
}

/// Breaks something in each part of a queue, and in one that has no parts; `owner` has the keys of a tag.
async fn is_repaired<'a>(client: &Client, owner: impl AsyncFn(&str) -> &'a RedisServer) {
    let running = worker(client, &Arc::default())
        .queues("hot,default")
        .start()
        .await
        .unwrap();
    let sent = client.send_all((0..200).map(double)).await.unwrap();
    for (n, handle) in (0..).zip(sent) {
        assert_eq!(handle.wait(secs(60)).await.unwrap(), 2 * n);
    }
    running.shutdown().await;
    let waiting = client.send_all((0..100).map(double)).await.unwrap();
    let unique = client.send(refresh(7)).await.unwrap();
    assert_eq!(found(&examine(client).await), []);

    let mut planted = 0;
    for part in 0..PARTS {
        let tag = if part == 0 {
            "{lovage:hot}".to_owned()
        } else {
            format!("{{lovage:hot#{part}}}")
        };
        let server = owner(&tag).await;
        let ready = format!("{tag}:ready:5");
        let id: Vec<u8> = server.cli(&["RPOP", &ready]).await.unwrap();
        assert_eq!(id.len(), 16, "{tag} has some of a hundred");
        let stray = ["HSET", &format!("{tag}:locks"), "an id of nothing", "x"];
        server.cli::<()>(&stray).await.unwrap();
        let result = format!("{tag}:result:{}", "0b".repeat(16));
        server.cli::<()>(&["SET", &result, "x"]).await.unwrap();
        planted += 1;
    }
    let server = owner("{lovage:default}").await;
    server
        .cli::<()>(&["DEL", "{lovage:default}:locks"])
        .await
        .unwrap();

    let report = examine(client).await;
    for kind in [Kind::InNoPlace, Kind::StrayNote, Kind::Lasting] {
        assert_eq!(
            report.counted.get(&kind),
            Some(&planted),
            "{kind}: {report}"
        );
    }
    assert!(kinds(&report).contains(&Kind::LostLock), "{report}");
    let repaired = repair(client).await;
    // The letter `u` of each part, and of the queue without parts.
    assert!(3 * planted < repaired.repaired, "{repaired}");
    assert_eq!(found(&examine(client).await), []);

    let running = worker(client, &Arc::default())
        .queues("hot,default")
        .start()
        .await
        .unwrap();
    for (n, handle) in (0..).zip(waiting) {
        assert_eq!(handle.wait(secs(60)).await.unwrap(), 2 * n);
    }
    assert_eq!(unique.wait(secs(60)).await.unwrap(), 7);
    running.shutdown().await;
    assert_eq!(found(&examine(client).await), []);
}

async fn examine(client: &Client) -> Report {
    crate::examine(client).await
}

async fn repair(client: &Client) -> Report {
    crate::repair(client).await
}

/// What is wrong but for the servers' settings, which are those of tests.
fn found(report: &Report) -> Vec<Kind> {
    assert_eq!(report.unsure, [""; 0], "{report}");
    let found = kinds(report).into_iter();
    found.filter(|kind| *kind != Kind::Persistence).collect()
}
