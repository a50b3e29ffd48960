//! The nodes and slots of a cluster change while real processes work on it.

use std::time::Duration;

use lovage_core::secs;
use lovage_integration_tests::tasks::quick;
use lovage_integration_tests::{Choir, LIMIT, Stream, eventually};
use lovage_test_redis::{Cluster, RedisServer};

use crate::flow::{
    Flow, a_moment, crew, each_confirmed_ran, each_ran_once, more_end, none_has_ended,
};
use crate::stage_over;

/// No node is replaced by itself, however busy the machine is.
const CALM: Duration = secs(30);
/// A node that is silent for so long is replaced.
const NERVOUS: Duration = secs(2);
/// Longer than anything here stops a queue.
const LONG: Duration = secs(30);
/// Short: what a lost write has undone is taken back soon.
const SHORT: Duration = secs(2);

/// A primary that does not have the slot.
async fn another(cluster: &Cluster, slot: u16) -> &RedisServer {
    let owner = cluster.owner(slot).await.port();
    for node in cluster.nodes() {
        if node.port() != owner && node.is_primary().await {
            return node;
        }
    }
    panic!("a cluster has three primaries")
}

/// Moves a slot a key at a time, with pauses in which its keys are on both sides.
async fn reshard(cluster: &Cluster, slot: u16) {
    let moving = cluster.begin_move(slot, another(cluster, slot).await).await;
    a_moment().await;
    while moving.keys(1).await {
        a_moment().await;
    }
    moving.finish().await;
}

#[tokio::test]
async fn a_reshard_loses_and_repeats_nothing() {
    let stage = stage_over(Cluster::start(CALM).await);
    let slot = stage.redis.slot("{lovage:default}").await;
    let client = stage.client().await;
    let mut workers = crew(&stage, LONG).await;
    let flow = Flow::begin(&stage, &client).await;
    for round in 0..6 {
        more_end(&stage, 100).await;
        reshard(&stage.redis, slot).await;
        if round == 2 {
            stage.redis.fail_over(slot).await;
            stage.redis.until_whole().await;
        }
    }
    each_ran_once(&stage, &flow.end(&stage).await);
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn a_cluster_node_that_dies_is_replaced() {
    let stage = stage_over(Cluster::start(NERVOUS).await);
    let slot = stage.redis.slot("{lovage:default}").await;
    let client = stage.client().await;
    let mut workers = crew(&stage, SHORT).await;

    let stream = Stream::start(client.clone());
    more_end(&stage, 100).await;
    let confirmed = stream.stop().await.accepted;
    let owner = stage.redis.owner(slot).await;
    let replica = stage.redis.replica_of(owner).await;
    owner.replicated_to(replica).await;

    let stream = Stream::start(client.clone());
    more_end(&stage, 100).await;
    owner.kill9();
    stage.redis.successor_of(owner, slot).await;
    more_end(&stage, 100).await;
    let others = stream.stop().await.accepted;
    // One that comes back is a replica, and the processes find their way past it.
    owner.restart().await;
    stage.redis.until_whole().await;
    let handle = client.send(quick(7)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 7);

    each_confirmed_ran(&stage, &confirmed, &others).await;
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn a_cluster_fires_each_occurrence_once_while_its_slots_move() {
    let stage = stage_over(Cluster::start(CALM).await);
    let _workers = crew(&stage, LONG).await;
    let mut choir = Choir::of(&stage, 5, secs(2), "misfire = \"all\"").await;
    choir.join(&stage);
    choir.join(&stage);
    choir.leader(0).await;
    let schedules = stage.redis.slot("{lovage}").await;
    let queue = stage.redis.slot("{lovage:default}").await;
    for slot in [schedules, queue, schedules] {
        let before = stage.journal.all_starts().len();
        eventually("schedules fire", async || {
            (before + 50 < stage.journal.all_starts().len()).then_some(())
        })
        .await;
        reshard(&stage.redis, slot).await;
    }
    stage.redis.fail_over(schedules).await;
    let (place, leader) = choir.leader(0).await;
    choir.beats.swap_remove(place).kill9();
    choir.leader(leader.epoch).await;
    choir.each_occurrence_ran_once(&stage).await;
    none_has_ended(&mut choir.beats);
}
