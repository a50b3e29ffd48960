//! The primary of sentinels changes while real processes work on it.

use std::collections::BTreeSet;
use std::time::Duration;

use lovage_core::{TaskId, ms, secs};
use lovage_integration_tests::tasks::{hold, quick};
use lovage_integration_tests::{LIMIT, Place, Process, Servers, Stage, Stream, eventually};
use lovage_test_redis::{RedisServer, Sentinels};

use crate::stage_over;

/// Longer than any failover here: no lease ends by it.
const LONG: Duration = secs(30);
/// Short: what a lost write has undone is taken back soon.
const SHORT: Duration = secs(2);

/// Two workers, which are known.
pub(crate) async fn crew(stage: &Stage<impl Servers>, lease: Duration) -> [Process; 2] {
    let worker = || stage.worker().concurrency(16).lease(lease).spawn();
    let crew = [worker(), worker()];
    stage.known_workers(crew.len()).await;
    crew
}

pub(crate) fn none_has_ended(processes: &mut [Process]) {
    for process in processes {
        assert_eq!(process.ended(), None, "a process ended by itself");
    }
}

/// Lets the stream run until `count` more tasks have ended.
pub(crate) async fn more_end(stage: &Stage<impl Servers>, count: usize) {
    let before = stage.journal.all_ends().len();
    eventually(&format!("{count} more tasks end"), async || {
        (before + count < stage.journal.all_ends().len()).then_some(())
    })
    .await;
}

/// Each of `ids` ran once: nothing is lost, nothing is repeated.
pub(crate) fn each_ran_once(stage: &Stage<impl Servers>, ids: &[TaskId]) {
    let (starts, ends) = (stage.journal.all_starts(), stage.journal.all_ends());
    for id in ids {
        assert_eq!(starts.get(id).map(Vec::len), Some(1), "starts of {id}");
        assert_eq!(ends.get(id).map(Vec::len), Some(1), "ends of {id}");
    }
}

#[tokio::test]
async fn a_sentinel_failover_is_followed() {
    let stage = stage_over(Sentinels::start(RedisServer::builder(), 1).await);
    let client = stage.client().await;
    let mut workers = crew(&stage, LONG).await;
    let gate = stage.gate("all");
    let awaited = client.send(hold(gate.path())).await.unwrap();
    let id = awaited.id();
    let waiting = tokio::spawn(async move { awaited.wait(LIMIT).await });
    stage.started(id, 1).await;

    let stream = Stream::start(client.clone());
    for _ in 0..2 {
        more_end(&stage, 100).await;
        stage.redis.fail_over().await;
    }
    more_end(&stage, 100).await;
    gate.open();
    waiting.await.unwrap().expect("its result arrives");
    let sent = stream.stop().await;
    assert_eq!(sent.failed, 0, "each send was accepted in time");
    let audit = stage.at_rest().await;
    assert_eq!(audit.ids(Place::Dead), BTreeSet::new());
    each_ran_once(&stage, &sent.accepted);
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
    let audit = stage.at_rest().await;
    assert_eq!(audit.ids(Place::Dead), BTreeSet::new());
    let ends = stage.journal.all_ends();
    for id in &confirmed {
        assert!(ends.contains_key(id), "{id} was replicated, and is lost");
    }
    let lost = others.iter().filter(|id| !ends.contains_key(id)).count();
    let again = ends.values().filter(|ends| 1 < ends.len()).count();
    println!(
        "{} confirmed, none lost; of {} others {lost} lost; {again} ran again",
        confirmed.len(),
        others.len()
    );
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

/// A pause in which both sides of something unfinished are seen.
pub(crate) async fn a_moment() {
    tokio::time::sleep(ms(fastrand::u64(5..40))).await;
}
