//! The primary of sentinels changes while real processes work on it.

use std::time::Duration;

use lovage_core::secs;
use lovage_integration_tests::tasks::quick;
use lovage_integration_tests::{Stream, eventually};
use lovage_test_redis::{RedisServer, Sentinels};

use crate::flow::{Flow, crew, each_confirmed_ran, each_ran_once, more_end, none_has_ended};
use crate::stage_over;

/// Longer than any failover here: no lease ends by it.
const LONG: Duration = secs(30);
/// Short: what a lost write has undone is taken back soon.
const SHORT: Duration = secs(2);

#[tokio::test]
async fn a_sentinel_failover_is_followed() {
    let stage = stage_over(Sentinels::start(RedisServer::builder(), 1).await);
    let client = stage.client().await;
    let mut workers = crew(&stage, LONG).await;
    let flow = Flow::begin(&stage, &client).await;
    for _ in 0..2 {
        more_end(&stage, 100).await;
        stage.redis.fail_over().await;
    }
    each_ran_once(&stage, &flow.end(&stage).await);
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn what_replicas_have_survives_a_primary_that_is_killed() {
    let stage = stage_over(Sentinels::start(RedisServer::builder(), 2).await);
    let client = stage.client().await;
    let mut workers = crew(&stage, SHORT).await;
    let (mut confirmed, mut others) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let primary = stage.redis.primary().await;
        let stream = Stream::start(client.clone());
        more_end(&stage, 100).await;
        confirmed.extend(stream.stop().await.accepted);
        for replica in stage.redis.servers() {
            if replica.port() != primary.port() {
                primary.replicated_to(replica).await;
            }
        }
        let stream = Stream::start(client.clone());
        more_end(&stage, 100).await;
        primary.kill9();
        stage.redis.successor_of(primary).await;
        more_end(&stage, 100).await;
        others.extend(stream.stop().await.accepted);
        primary.restart().await;
        stage.redis.until_all_follow().await;
    }
    each_confirmed_ran(&stage, &confirmed, &others).await;
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn a_primary_that_is_frozen_is_left_and_its_thaw_disturbs_nobody() {
    let stage = stage_over(Sentinels::start(RedisServer::builder(), 1).await);
    let client = stage.client().await;
    let mut workers = crew(&stage, SHORT).await;
    let old = stage.redis.primary().await;
    for replica in stage.redis.servers() {
        if replica.port() != old.port() {
            old.replicated_to(replica).await;
        }
    }
    old.pause();
    stage.redis.successor_of(old).await;
    let works = async |when: &str| {
        eventually(&format!("a task runs {when}"), async || {
            let handle = client.send(quick(1)).await.ok()?;
            handle.wait(secs(10)).await.ok()
        })
        .await;
    };
    works("beside a frozen primary").await;
    old.resume();
    eventually("the old primary follows", async || {
        (!old.is_primary().await).then_some(())
    })
    .await;
    works("after it has thawed").await;
    stage.at_rest().await;
    none_has_ended(&mut workers);
}
