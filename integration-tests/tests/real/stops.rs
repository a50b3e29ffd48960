//! Workers that are told to stop: gently, twice, at boot, and while Redis is away.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lovage_core::{TaskId, ms, secs};
use lovage_integration_tests::tasks::{block, compute, hold, quick, stubborn};
use lovage_integration_tests::{LIMIT, Place, Process, Stage, eventually};
use lovage_test_redis::{Fault, FaultProxy};

use crate::stage;

/// Long: a worker that stops before it does so for another reason than its end.
const LONG: Duration = secs(600);

async fn stops_well(worker: &mut Process) {
    let status = worker.end().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Starts a worker with slots for 4, and 4 tasks that run in it.
async fn four_running<T: lovage_core::Task>(
    stage: &Stage,
    grace: Duration,
    task: impl Fn() -> T,
) -> (Process, Vec<TaskId>) {
    let client = stage.client().await;
    let worker = stage
        .worker()
        .concurrency(4)
        .lease(secs(20))
        .grace(grace)
        .spawn();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.send(task()).await.unwrap().id());
    }
    for id in &ids {
        stage.started(*id, 1).await;
    }
    (worker, ids)
}

/// All of `ids` are ready, without an attempt or a loss, and run so in another worker, which is answered.
async fn given_back(stage: &Stage, ids: &[TaskId]) -> Process {
    let audit = stage.audit().await;
    audit.check();
    for id in ids {
        assert!(audit.has(*id, Place::Ready), "{id}: {audit:?}");
        assert!(!audit.has(*id, Place::Facts), "{id} was charged: {audit:?}");
    }
    assert!(
        audit.identities().is_empty(),
        "the worker has left: {audit:?}"
    );
    let next = stage.worker().spawn();
    for id in ids {
        stage.started(*id, 2).await;
        let again = stage.journal.starts(*id)[1];
        assert_eq!((again.attempt, again.losses), (1, 0), "{again:?}");
    }
    next
}

#[tokio::test]
async fn a_stopped_worker_gives_back_what_it_did_not_finish() {
    let stage = stage().await;
    let gate = stage.gate("all");
    let (mut worker, ids) = four_running(&stage, ms(300), || hold(gate.path())).await;
    worker.terminate();
    stops_well(&mut worker).await;
    let _next = given_back(&stage, &ids).await;
    gate.open();
    stage.at_rest().await;
}

#[tokio::test]
async fn a_worker_stops_in_time_whatever_its_bodies_do() {
    let stage = stage().await;
    let gate = stage.gate("all");
    let path = gate.path();
    let (mut deaf, ids) = four_running(&stage, ms(300), || stubborn(path.clone())).await;
    deaf.terminate();
    stops_well(&mut deaf).await;
    let _next = given_back(&stage, &ids).await;
    gate.open();
    stage.at_rest().await;
}

#[tokio::test]
async fn a_worker_stops_in_time_though_threads_are_blocked() {
    let stage = stage().await;
    let gate = stage.gate("all");
    let client = stage.client().await;
    let mut worker = stage
        .worker()
        .concurrency(4)
        .flag("cpu-threads", "1")
        .grace(ms(300))
        .spawn();
    let computing = client.send(compute(gate.path())).await.unwrap().id();
    stage.started(computing, 1).await;
    for _ in 0..8 {
        client.send(block(gate.path())).await.unwrap();
    }
    worker.terminate();
    stops_well(&mut worker).await;
    // What is blocked cannot be taken from its thread; the process ends all the same, and nothing is lost.
    gate.open();
    let _next = stage.worker().spawn();
    stage.at_rest().await;
    assert!(!stage.journal.ends(computing).is_empty());
}

#[tokio::test]
async fn runs_that_end_within_the_grace_are_settled() {
    let stage = stage().await;
    let gate = stage.gate("all");
    let (mut worker, ids) = four_running(&stage, LONG, || hold(gate.path())).await;
    let client = stage.client().await;
    worker.terminate();
    let late = client.send(quick(1)).await.unwrap().id();
    gate.open();
    stops_well(&mut worker).await;

    let audit = stage.audit().await;
    audit.check();
    for id in &ids {
        assert!(!audit.has(*id, Place::Stored), "{id}: {audit:?}");
        assert_eq!(stage.journal.ends(*id).len(), 1);
    }
    let stored = audit.has(late, Place::Ready);
    let ran = stage.journal.ends(late).len() == 1;
    assert!(stored != ran, "{audit:?}");
}

#[tokio::test]
async fn a_second_signal_gives_back_at_once() {
    let stage = stage().await;
    let gate = stage.gate("all");
    let (mut worker, ids) = four_running(&stage, LONG, || stubborn(gate.path())).await;
    worker.terminate();
    // The first must have been seen, or both become one.
    lovage_integration_tests::eventually("the worker says that it stops", async || {
        worker.says("draining").then_some(())
    })
    .await;
    worker.terminate();
    stops_well(&mut worker).await;
    let _next = given_back(&stage, &ids).await;
    gate.open();
    stage.at_rest().await;
}

#[tokio::test]
async fn a_stop_is_bounded_while_redis_is_away_silent_or_half_open() {
    for fault in ["away", "silent", "half-open"] {
        let stage = stage().await;
        let client = stage.client().await;
        let proxy = FaultProxy::start(&stage.redis).await;
        let gate = stage.gate("all");
        let mut worker = stage.worker().broker(&proxy.url()).grace(ms(300)).spawn();
        let id = client.send(hold(gate.path())).await.unwrap().id();
        stage.started(id, 1).await;
        match fault {
            "away" => stage.redis.kill9(),
            "silent" => stage.redis.pause(),
            _ => proxy.set(Fault::Swallow),
        }
        let told = Instant::now();
        worker.terminate();
        stops_well(&mut worker).await;
        assert!(told.elapsed() < LIMIT, "{fault}");
    }
}

/// Ended by its own decision, or by the signal itself, which the kernel delivers before any handler is there.
fn is_a_good_end(status: ExitStatus) -> bool {
    status.code() == Some(0) || status.signal() == Some(15)
}

#[tokio::test]
async fn a_signal_at_boot_ends_the_process_whether_redis_is_there_or_not() {
    let stage = stage().await;
    for away in [false, true] {
        if away {
            stage.redis.kill9();
        }
        for delay_ms in [0, 1, 3, 10, 30, 100, 300] {
            let mut worker = stage.worker().spawn();
            tokio::time::sleep(ms(delay_ms)).await;
            worker.terminate();
            let status = worker.end().await;
            assert!(
                is_a_good_end(status),
                "Redis away: {away}, after {delay_ms} ms: {status}"
            );
        }
    }
}

#[tokio::test]
async fn a_worker_started_before_redis_works_once_it_is_there() {
    let stage = stage().await;
    stage.redis.kill9();
    let worker = stage.worker().spawn();
    eventually("the worker says that Redis is away", async || {
        worker.says("the broker is away").then_some(())
    })
    .await;
    stage.redis.restart().await;
    let client = stage.client().await;
    let handle = client.send(quick(7)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 7);
    let log = worker.log();
    for (word, times) in [("the broker is away", 1), ("trying again until", 0)] {
        assert_eq!(log.matches(word).count(), times, "{word:?} in\n{log}");
    }
}

#[tokio::test]
async fn a_rolling_restart_runs_every_task_once() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut present = stage.worker().concurrency(8).grace(LONG).spawn();
    let mut handles = Vec::new();
    for _ in 0..5 {
        handles.extend(client.send_all((0..200).map(quick)).await.unwrap());
        let next = stage.worker().concurrency(8).grace(LONG).spawn();
        // Only one that has come up takes the other's place.
        stage.known_workers(2).await;
        present.terminate();
        stops_well(&mut present).await;
        present = next;
    }
    stage.at_rest().await;
    let all_starts = stage.journal.all_starts();
    for handle in &handles {
        let starts = &all_starts[&handle.id()];
        assert_eq!(starts.len(), 1, "{starts:?}");
        assert_eq!(starts[0].losses, 0, "charged for a clean stop: {starts:?}");
    }
}
