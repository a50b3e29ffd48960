//! Redis away, full, silent, read-only or half there; and keys that somebody else has written.

use std::time::Duration;

use lovage::{Client, Handle, SendError};
use lovage_core::{TaskId, ms, secs};
use lovage_integration_tests::tasks::{hold, nap, quick};
use lovage_integration_tests::{LIMIT, Process, Stage, eventually, stays};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

use crate::{stage, stage_over};

const LEASE: Duration = ms(1500);

/// A server that loads its file slowly: a tenth of a millisecond a key.
async fn slow_to_load() -> RedisServer {
    RedisServer::builder()
        .appendonly("always")
        .arg("key-load-delay", "100")
        .arg("loading-process-events-interval-bytes", "1024")
        .arg("enable-debug-command", "yes")
        .start()
        .await
}

/// A task that is sent now runs, and no worker process has ended.
async fn tasks_run(client: &Client, workers: &mut [Process], after: &str) {
    let handle = eventually(&format!("a send is accepted after {after}"), async || {
        client.send(quick(1)).await.ok()
    })
    .await;
    let answer = handle.wait(LIMIT).await;
    assert!(answer.is_ok(), "after {after}: {answer:?}");
    for worker in workers {
        assert_eq!(worker.ended(), None, "a worker ended after {after}");
    }
}

#[tokio::test]
async fn a_worker_survives_any_outage_of_redis() {
    let stage = stage_over(slow_to_load().await);
    let client = stage.client().await;
    let mut workers = [
        stage.worker().lease(LEASE).spawn(),
        stage.worker().lease(LEASE).spawn(),
    ];
    let redis = &stage.redis;
    stage.known_workers(2).await;
    tasks_run(&client, &mut workers, "the start").await;

    redis.kill9();
    redis.restart().await;
    tasks_run(&client, &mut workers, "a kill and a restart").await;

    redis.kill9();
    stays("away for longer than the lease", 2 * LEASE, async || true).await;
    redis.restart().await;
    tasks_run(&client, &mut workers, "an outage longer than the lease").await;

    redis.pause();
    stays("silent for longer than the lease", 2 * LEASE, async || true).await;
    redis.resume();
    tasks_run(&client, &mut workers, "a silence longer than the lease").await;

    // Ten thousand keys take a second to load; every command is answered LOADING meanwhile.
    let fill = "for i = 1, 10000 do redis.call('SET', 'other:' .. i, i) end";
    redis.cli::<()>(&["EVAL", fill, "0"]).await.unwrap();
    redis.restart().await;
    tasks_run(&client, &mut workers, "loading").await;

    redis
        .cli::<()>(&["REPLICAOF", "127.0.0.1", "1"])
        .await
        .unwrap();
    stays(
        "read-only for longer than the lease",
        2 * LEASE,
        async || true,
    )
    .await;
    redis.cli::<()>(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    tasks_run(&client, &mut workers, "being a replica").await;

    redis
        .cli::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await
        .unwrap();
    stays("refusing all writes", LEASE, async || true).await;
    redis
        .cli::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await
        .unwrap();
    tasks_run(&client, &mut workers, "a want of replicas").await;

    redis.cli::<()>(&["FLUSHALL"]).await.unwrap();
    tasks_run(&client, &mut workers, "all keys were deleted").await;

    redis
        .cli::<()>(&[
            "ACL", "SETUSER", "default", "-@all", "+config", "+acl", "+info", "+ping",
        ])
        .await
        .unwrap();
    stays("without permission", LEASE, async || true).await;
    redis
        .cli::<()>(&["ACL", "SETUSER", "default", "+@all"])
        .await
        .unwrap();
    tasks_run(&client, &mut workers, "a want of permission").await;
    stage.at_rest().await;
}

#[tokio::test]
async fn each_outage_is_said_once_a_worker_whatever_its_queues() {
    let stage = stage().await;
    let worker = stage.worker().queues("default,a,b,c,d").concurrency(1);
    let mut worker = worker.lease(LEASE).spawn();
    let client = stage.client().await;
    tasks_run(&client, std::slice::from_mut(&mut worker), "the start").await;
    let gate = stage.gate("all");
    let (away, back) = ("the broker does not work", "the broker works again");
    for outage in 1..=2 {
        if outage == 2 {
            // What has no slot for more asks for none.
            for _ in 0..100 {
                client.send(hold(gate.path())).await.unwrap();
            }
        }
        stage.redis.kill9();
        for word in [away, back] {
            eventually(&format!("{word:?} for the {outage}. time"), async || {
                (worker.log().matches(word).count() == outage).then_some(())
            })
            .await;
            if word == away {
                stays("away for longer than the lease", 2 * LEASE, async || true).await;
                stage.redis.restart().await;
            }
        }
        if outage == 1 {
            tasks_run(&client, std::slice::from_mut(&mut worker), "the outage").await;
        }
        let log = worker.log();
        for word in [away, back] {
            assert_eq!(log.matches(word).count(), outage, "{word:?} in\n{log}");
        }
    }
    gate.open();
}

#[tokio::test]
async fn a_worker_and_a_beat_say_at_their_start_what_is_wrong_with_redis() {
    let redis = RedisServer::builder()
        .arg("maxmemory", "100mb")
        .arg("maxmemory-policy", "allkeys-lru");
    let stage = stage_over(redis.start().await);
    let processes = [stage.worker().spawn(), stage.beat().spawn()];
    for process in processes {
        for what in ["set noeviction", "takes all tasks with it"] {
            eventually(&format!("it says {what:?}"), async || {
                process.says(what).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_restart_of_redis_with_an_append_only_file_loses_nothing() {
    let stage = stage_over(RedisServer::builder().appendonly("always").start().await);
    let client = stage.client().await;
    let mut workers = [
        stage.worker().concurrency(16).lease(LEASE).spawn(),
        stage.worker().concurrency(16).lease(LEASE).spawn(),
    ];
    // A worker that does not reach Redis at its start ends by itself; what follows is for those that have started.
    stage.known_workers(2).await;
    let mut accepted: Vec<TaskId> = Vec::new();
    for _ in 0..4 {
        let handles = client.send_all((0..500).map(|_| nap(2))).await.unwrap();
        accepted.extend(handles.iter().map(Handle::id));
        stage.redis.kill9();
        stage.redis.restart().await;
        tasks_run(&client, &mut workers, "a restart").await;
    }
    stage.at_rest().await;
    all_ended(&stage, &accepted);
}

fn all_ended(stage: &Stage, ids: &[TaskId]) {
    let ends = stage.journal.all_ends();
    for id in ids {
        assert!(ends.contains_key(id), "{id} never ended");
    }
}

/// Each of `ids` started once and only once.
fn each_started_once(stage: &Stage, ids: &[TaskId]) {
    let starts = stage.journal.all_starts();
    for id in ids {
        assert_eq!(starts.get(id).map(Vec::len), Some(1), "starts of {id}");
    }
}

/// Sends 3,000 tasks while a disturbance happens again and again, and holds that each ran exactly once.
async fn disturbed(stage: &Stage, disturbance: &[&str]) {
    let client = stage.client().await;
    // Longer than any disturbance here: no lease may end.
    let mut workers = [
        stage.worker().concurrency(16).lease(secs(20)).spawn(),
        stage.worker().concurrency(16).lease(secs(20)).spawn(),
    ];
    // A worker that does not reach Redis at its start ends by itself; what follows is for those that have started.
    stage.known_workers(2).await;
    let mut accepted: Vec<TaskId> = Vec::new();
    for _ in 0..30 {
        // A send whose answer is lost is repeated with the same ids by the client itself.
        let handles = client.send_all((0..100).map(|_| nap(2))).await.unwrap();
        accepted.extend(handles.iter().map(Handle::id));
        // The command may kill the very connection it came by.
        let _ = stage.redis.cli::<redis::Value>(disturbance).await;
    }
    tasks_run(&client, &mut workers, "the disturbance").await;
    stage.at_rest().await;
    each_started_once(stage, &accepted);
}

#[tokio::test]
async fn a_storm_of_killed_connections_loses_and_doubles_nothing() {
    disturbed(&stage().await, &["CLIENT", "KILL", "TYPE", "normal"]).await;
}

#[tokio::test]
async fn scripts_that_are_flushed_again_and_again_are_not_missed() {
    disturbed(&stage().await, &["SCRIPT", "FLUSH"]).await;
}

#[tokio::test]
async fn a_worker_behind_a_half_open_connection_claims_again_without_a_restart() {
    let stage = stage().await;
    let client = stage.client().await;
    for fault in [Fault::Swallow, Fault::DropReplies] {
        let proxy = FaultProxy::start(&stage.redis).await;
        let mut worker = [stage.worker().broker(&proxy.url()).lease(LEASE).spawn()];
        tasks_run(&client, &mut worker, "the start").await;
        proxy.set(fault);
        stays("cut off for longer than the lease", 2 * LEASE, async || {
            true
        })
        .await;
        proxy.set(Fault::Pass);
        tasks_run(&client, &mut worker, "a half-open connection").await;
        stage.at_rest().await;
    }
}

#[tokio::test]
async fn a_full_redis_still_drains() {
    const BALLAST: usize = 200;
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let mut lost = stage.worker().concurrency(4).lease(LEASE).spawn();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(client.send(hold(gate.path())).await.unwrap().id());
    }
    for id in &held {
        stage.started(*id, 1).await;
    }
    let waiting = client
        .send_all((0..BALLAST as u64).map(quick))
        .await
        .unwrap();

    stage
        .redis
        .cli::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let impatient = Client::builder(stage.redis.url()).deadline(secs(1));
    let impatient = impatient.connect().await.unwrap();
    let never = TaskId::random();
    let refused = impatient.send(quick(1)).id(never).await.unwrap_err();
    assert!(matches!(refused, SendError::Refused(_)), "{refused:?}");
    // Recovery, claims, renewals and verdicts go on: the worker is lost, another takes all.
    lost.kill9();
    let mut other = stage.worker().concurrency(4).lease(LEASE).spawn();
    for id in &held {
        stage.started(*id, 2).await;
    }
    gate.open();
    stage.at_rest().await;
    let ends = stage.journal.all_ends();
    for handle in &waiting {
        assert_eq!(ends[&handle.id()].len(), 1, "{}", handle.id());
    }
    assert_eq!(other.ended(), None);

    stage
        .redis
        .cli::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    tasks_run(&client, &mut [other], "memory was freed").await;
    stage.at_rest().await;
    assert_eq!(stage.journal.of(never), [], "a refused send was stored");
}

#[tokio::test]
async fn a_key_of_another_type_stops_its_queue_alone_and_is_not_deleted() {
    for key in [
        "ready:5",
        "tasks",
        "suspects",
        "scheduled",
        "meta",
        "bell",
        "identities",
    ] {
        let stage = stage().await;
        let client = stage.client().await;
        let key = format!("{{lovage:bad}}:{key}");
        stage.redis.cli::<()>(&["SET", &key, "mine"]).await.unwrap();
        let mut workers = [stage
            .worker()
            .queues("bad:1,default:1")
            .lease(LEASE)
            .spawn()];

        tasks_run(&client, &mut workers, &format!("{key} was taken")).await;
        let kept: String = stage.redis.cli(&["GET", &key]).await.unwrap();
        assert_eq!(kept, "mine", "{key}");

        // Somebody mends it while the worker lives.
        stage.redis.cli::<()>(&["DEL", &key]).await.unwrap();
        let handle = client.send(quick(2)).queue("bad").await.unwrap();
        assert_eq!(handle.wait(LIMIT).await.unwrap(), 2, "{key}");
        tasks_run(&client, &mut workers, &format!("{key} was freed")).await;
    }
}

#[tokio::test]
async fn a_send_into_a_key_of_another_type_says_that_somebody_must_act() {
    let stage = stage().await;
    let client = stage.client().await;
    for key in ["{lovage:default}:tasks", "{lovage:default}:ready:5"] {
        stage.redis.cli::<()>(&["SET", key, "mine"]).await.unwrap();
        let refused = client.send(quick(1)).await.unwrap_err();
        assert!(
            matches!(refused, SendError::Misconfigured(_)),
            "{key}: {refused:?}"
        );
        stage.redis.cli::<()>(&["DEL", key]).await.unwrap();
        let stored: u64 = stage.redis.cli(&["DBSIZE"]).await.unwrap();
        assert_eq!(stored, 0, "a refused send left something behind");
    }
}
