//! The process lane: whatever a body does to its process, the worker and its neighbours go on.

use std::path::Path;
use std::process::Stdio;

use lovage::{FailureKind, Progress, WaitError, ms, secs};
use lovage_integration_tests::risky::{
    CHILDREN_VARIABLE, abort_once, answer_at_length, breed, crash, devour, is_running, is_there,
    lay_a_trap, linger, look_around, obey, spin, whereabouts, work_apart,
};
use lovage_integration_tests::tasks::{hoard, hold, quick};
use lovage_integration_tests::{LIMIT, Process, ProcessBuilder, Stage, eventually};
use lovage_test_redis::signal;

use crate::{stage, stage_of};

async fn gone(pid: u32) {
    eventually("a process is gone, and waited for", async || {
        (!is_there(pid)).then_some(())
    })
    .await;
}

pub(crate) fn failure(end: Result<impl std::fmt::Debug, WaitError>) -> lovage::Failure {
    match end.unwrap_err() {
        WaitError::Failed(failure) => failure,
        other => panic!("not a failure: {other}"),
    }
}

/// A worker with room for two children, to be started.
pub(crate) fn builder(stage: &Stage) -> ProcessBuilder {
    let worker = stage.worker().flag("process-concurrency", "2");
    let folder = stage.folder().to_str().unwrap();
    worker.lease(secs(20)).variable(CHILDREN_VARIABLE, folder)
}

/// A worker with room for two children.
pub(crate) fn worker(stage: &Stage) -> Process {
    builder(stage).spawn()
}

/// Waits for a file with the id of a process.
pub(crate) async fn id_in(file: &Path) -> u32 {
    eventually("a process has noted its id", async || {
        std::fs::read_to_string(file).ok()?.parse().ok()
    })
    .await
}

#[tokio::test]
async fn a_crash_in_the_process_lane_is_that_tasks_failure() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut worker = worker(&stage);
    let gate = stage.gate("neighbours");
    // Two neighbours that run all the while: one in the worker itself, one in a child.
    let within = client.send(hold(gate.path())).await.unwrap();
    let beside = client.send(linger(gate.path())).await.unwrap();
    for id in [within.id(), beside.id()] {
        stage.started(id, 1).await;
    }
    for (how, kind, told) in [
        ("abort", FailureKind::Crashed, "SIGABRT"),
        ("segfault", FailureKind::Crashed, "SIGSEGV"),
        ("kill", FailureKind::Crashed, "SIGKILL"),
        ("overflow", FailureKind::Crashed, "SIGABRT"),
        ("exit", FailureKind::Crashed, "exit status: 3"),
        ("silence", FailureKind::Crashed, "exit status: 0"),
        ("panic", FailureKind::Panic, "as it is told to"),
    ] {
        let handle = client.send(crash(how)).await.unwrap();
        let failure = failure(handle.wait(LIMIT).await);
        assert_eq!(failure.kind, kind, "{how}: {failure}");
        assert!(failure.message.contains(told), "{how}: {failure}");
        if kind == FailureKind::Crashed {
            let words = format!("last words before it will {how}");
            assert!(failure.causes[0].contains(&words), "{how}: {failure}");
        }
        let starts = stage.journal.starts(handle.id());
        let seen: Vec<_> = starts
            .iter()
            .map(|start| (start.attempt, start.losses))
            .collect();
        assert_eq!(
            seen,
            [(1, 0), (2, 0)],
            "{how}: a crash is an attempt, and no loss"
        );
        if kind == FailureKind::Crashed {
            for start in starts {
                gone(start.pid).await;
            }
        }
    }
    assert!(
        worker.says("rubbish on standard output"),
        "what a body writes is passed on"
    );
    assert!(worker.ended().is_none(), "the worker has ended");
    gate.open();
    within.wait(LIMIT).await.unwrap();
    beside.wait(LIMIT).await.unwrap();
    for id in [within.id(), beside.id()] {
        let starts = stage.journal.starts(id);
        assert_eq!(
            (starts.len(), starts[0].losses),
            (1, 0),
            "a neighbour was charged"
        );
    }
    stage.audit().await.check();
}

#[tokio::test]
async fn a_crash_of_an_at_most_once_task_buries_it() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = worker(&stage);
    let handle = client.send(abort_once()).await.unwrap();
    assert_eq!(failure(handle.wait(LIMIT).await).kind, FailureKind::Crashed);
    assert_eq!(stage.journal.starts(handle.id()).len(), 1);
    assert_eq!(stage.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn errors_that_panic_when_they_are_shown_or_dropped_end_their_run_alone() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = stage.worker().flag("process-concurrency", "1").spawn();
    let mut pids = Vec::new();
    for (when_shown, told) in [(true, "shown"), (false, "dropped")] {
        let handle = client.send(lay_a_trap(when_shown)).await.unwrap();
        let failure = failure(handle.wait(LIMIT).await);
        assert_eq!(failure.kind, FailureKind::Panic, "{failure}");
        assert!(failure.message.contains(told), "{failure}");
        let next = client.send(whereabouts()).await.unwrap();
        pids.push(next.wait(LIMIT).await.unwrap());
    }
    assert_eq!(pids[0], pids[1], "the child was not used again");
}

#[tokio::test]
async fn progress_in_a_child_is_reported_by_its_worker() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let worker = stage.worker().lease(ms(1500));
    let mut first = worker.spawn();
    let id = client.send(work_apart(gate.path())).await.unwrap().id();
    eventually("it is reported how far the run is", async || {
        let looked = client.workers("default", 0, 9).await.unwrap();
        let report = looked.found.first()?.report.clone()?.1;
        let run = report.running.into_iter().find(|run| run.id == id)?;
        (run.progress == Some(Progress::Count(3, 10))).then_some(())
    })
    .await;
    first.kill9();
    let _other = worker.spawn();
    let loss = eventually("the loss is recorded", async || {
        client.losses("default", 0, 9).await.unwrap().pop()
    })
    .await;
    assert_eq!(loss.progress, Some(Progress::Count(3, 10)));
    gate.open();
    stage.at_rest().await;
}

#[tokio::test]
async fn a_body_that_allocates_beyond_its_limit_fails_and_says_so() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = worker(&stage);
    let handle = client.send(devour(1 << 30)).await.unwrap();
    let failure = failure(handle.wait(LIMIT).await);
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(
        failure
            .message
            .contains("ran out of its memory limit of 268435456 bytes"),
        "{failure}"
    );
    let within = client.send(devour(1 << 20)).await.unwrap();
    assert_eq!(within.wait(LIMIT).await.unwrap(), 1 << 20);
}

#[tokio::test]
async fn a_hard_limit_kills_a_body_that_never_looks_and_its_whole_group() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut worker = worker(&stage);
    let spinning = client.send(spin()).hard_timeout(secs(1)).await.unwrap();
    assert_eq!(
        failure(spinning.wait(LIMIT).await).kind,
        FailureKind::Timeout
    );
    gone(stage.journal.starts(spinning.id())[0].pid).await;

    let file = stage.folder().join("grandchild");
    let breeding = client
        .send(breed(file.to_str().unwrap()))
        .hard_timeout(secs(1));
    let breeding = breeding.await.unwrap();
    assert_eq!(
        failure(breeding.wait(LIMIT).await).kind,
        FailureKind::Timeout
    );
    gone(stage.journal.starts(breeding.id())[0].pid).await;
    sleeps_no_more(&file).await;
    assert!(worker.ended().is_none());
}

/// The process whose id is in `file` runs no more. It was not the worker's child: whoever took it may let it be a zombie.
async fn sleeps_no_more(file: &Path) {
    let pid: u32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    eventually("a grandchild has ended", async || {
        (!is_running(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_soft_limit_and_a_cancellation_reach_the_token_in_the_child() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = stage.worker().flag("process-concurrency", "2").spawn();
    let late = client.send(obey()).timeout(ms(500)).await.unwrap();
    assert_eq!(failure(late.wait(LIMIT).await).kind, FailureKind::Timeout);
    let cancelled = client.send(obey()).await.unwrap();
    stage.started(cancelled.id(), 1).await;
    cancelled.cancel().await.unwrap();
    let end = cancelled.wait(LIMIT).await;
    assert!(matches!(end, Err(WaitError::Cancelled)), "{end:?}");
    let deaf = client.send(spin()).await.unwrap();
    stage.started(deaf.id(), 1).await;
    deaf.cancel().await.unwrap();
    let end = deaf.wait(LIMIT).await;
    assert!(matches!(end, Err(WaitError::Cancelled)), "{end:?}");
    gone(stage.journal.starts(deaf.id())[0].pid).await;
}

#[tokio::test]
async fn a_killed_worker_leaves_no_children() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut worker = worker(&stage);
    let file = stage.folder().join("grandchild");
    let spinning = client.send(spin()).await.unwrap();
    let breeding = client.send(breed(file.to_str().unwrap())).await.unwrap();
    for id in [spinning.id(), breeding.id()] {
        stage.started(id, 1).await;
    }
    worker.kill9();
    for id in [spinning.id(), breeding.id()] {
        let pid = stage.journal.starts(id)[0].pid;
        eventually("a child of the dead worker has ended", async || {
            (!is_running(pid)).then_some(())
        })
        .await;
    }
    sleeps_no_more(&file).await;
}

#[tokio::test]
async fn a_stopped_worker_gives_back_what_its_children_did_not_finish() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let mut stopped = stage.worker().lease(secs(20)).grace(ms(300)).spawn();
    let handle = client.send(linger(gate.path())).await.unwrap();
    stage.started(handle.id(), 1).await;
    stopped.terminate();
    assert_eq!(stopped.end().await.code(), Some(0));
    let first = stage.journal.starts(handle.id())[0].pid;
    eventually("the child has ended", async || {
        (!is_running(first)).then_some(())
    })
    .await;
    let _next = worker(&stage);
    stage.started(handle.id(), 2).await;
    let again = stage.journal.starts(handle.id())[1];
    assert_eq!((again.attempt, again.losses), (1, 0), "{again:?}");
    gate.open();
    handle.wait(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_drain_waits_for_children_that_end_within_the_grace() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let mut stopped = stage.worker().lease(secs(20)).grace(secs(600)).spawn();
    let handle = client.send(linger(gate.path())).await.unwrap();
    stage.started(handle.id(), 1).await;
    stopped.terminate();
    // As a supervisor does that signals all processes of a service.
    signal(stage.journal.starts(handle.id())[0].pid, "TERM").unwrap();
    eventually("the worker drains", async || {
        stopped.says("draining").then_some(())
    })
    .await;
    gate.open();
    assert_eq!(stopped.end().await.code(), Some(0));
    let pid = handle.wait(LIMIT).await.unwrap();
    assert_eq!(stage.journal.starts(handle.id()).len(), 1);
    eventually("the child has ended", async || {
        (!is_running(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn children_are_used_again_until_they_have_run_enough() {
    let stage = stage().await;
    let client = stage.client().await;
    let worker = stage.worker().flag("process-concurrency", "1");
    let _worker = worker.flag("max-tasks-per-child", "3").spawn();
    let mut pids = Vec::new();
    for _ in 0..6 {
        let handle = client.send(whereabouts()).await.unwrap();
        pids.push(handle.wait(LIMIT).await.unwrap());
    }
    assert_eq!(pids[0..3], [pids[0]; 3], "{pids:?}");
    assert_eq!(pids[3..6], [pids[3]; 3], "{pids:?}");
    assert_ne!(pids[0], pids[3]);
    gone(pids[0]).await;
    gone(pids[3]).await;
}

#[tokio::test]
async fn an_idle_child_is_ended_and_another_is_started_when_needed() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = stage.worker().flag("process-idle", "50ms").spawn();
    for _ in 0..2 {
        let handle = client.send(whereabouts()).await.unwrap();
        gone(handle.wait(LIMIT).await.unwrap()).await;
    }
}

#[tokio::test]
async fn results_states_headers_and_attempts_are_in_the_child_as_elsewhere() {
    let stage = stage().await;
    let client = stage.client().await;
    let _worker = worker(&stage);
    let handle = client.send(answer_at_length(1_000_000)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap().len(), 1_000_000);
    let handle = client.send(answer_at_length(3 << 20)).await.unwrap();
    let failure = failure(handle.wait(LIMIT).await);
    assert_eq!(failure.kind, FailureKind::Malformed, "{failure}");

    let handle = client.send(look_around("word")).header("tint", "green");
    let seen = handle.await.unwrap().wait(LIMIT).await.unwrap();
    assert!(seen.starts_with("word green 1 "), "{seen}");
    let plain = client.send(quick(7)).await.unwrap();
    assert_eq!(plain.wait(LIMIT).await.unwrap(), 7);
}

fn embedded(stage: &Stage) -> std::process::Command {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_test-embedded"));
    program
        .arg(stage.redis.url())
        .arg(stage.folder().join("count"));
    program
}

#[tokio::test]
async fn a_program_with_a_worker_inside_does_its_own_work_once() {
    let stage = stage().await;
    let output = embedded(&stage).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("Hello, Ada, from "), "{said}");
    let count = std::fs::read_to_string(stage.folder().join("count")).unwrap();
    assert_eq!(
        count, "started\n",
        "a child did what only the program shall"
    );
}

/// As a supervisor does that signals all processes of a service.
#[tokio::test]
async fn a_signal_does_not_end_a_child_that_makes_its_states() {
    let stage = stage().await;
    let waits = stage.folder().join("count.wait");
    std::fs::write(&waits, "").unwrap();
    let mut program = embedded(&stage);
    let program = program.stdout(Stdio::piped()).spawn().unwrap();
    let child = id_in(&stage.folder().join("count.child")).await;
    let signalled = ["TERM", "INT", "HUP"].map(|kind| signal(child, kind));
    std::fs::remove_file(&waits).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(signalled.iter().all(Result::is_ok), "{signalled:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("Hello, Ada, from {child}\n"));
}

#[tokio::test]
async fn a_program_without_an_entry_for_children_starts_no_worker_and_says_what_to_do() {
    let stage = stage().await;
    let mut program = embedded(&stage);
    let output = program.env("LOVAGE_TEST_NO_ENTRY", "1").output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("call lovage::process::init() first in main()"),
        "{said}"
    );
}

#[tokio::test]
async fn a_worker_that_reaches_a_limit_ends_and_loses_nothing() {
    for (flag, value, told) in [
        ("max-tasks", "5", "its limit is 5"),
        ("max-rss", "256MiB", "its limit is 268435456"),
    ] {
        let stage = stage().await;
        let client = stage.client().await;
        let hoarding = client.send(hoard(300 << 20)).await.unwrap().id();
        let handles = client.send_all((0..200).map(quick)).await.unwrap();
        let worker = stage.worker().lease(secs(20)).flag(flag, value);
        let mut worker = worker.spawn();
        assert_eq!(worker.end().await.code(), Some(0), "{flag}");
        assert!(worker.says(told), "{flag}");
        stage.audit().await.check();
        let _next = stage.worker().spawn();
        stage.at_rest().await;
        let starts = stage.journal.all_starts();
        for id in handles.iter().map(lovage::Handle::id).chain([hoarding]) {
            assert_eq!(starts[&id].len(), 1, "{flag}: {:?}", starts[&id]);
        }
    }
}

#[tokio::test]
async fn children_start_also_when_the_program_was_deleted_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("worker");
    std::fs::copy(env!("CARGO_BIN_EXE_test-worker"), &copy).unwrap();
    let stage = stage_of(copy.to_str().unwrap()).await;
    let client = stage.client().await;
    let _worker = worker(&stage);
    stage.known_workers(1).await;
    std::fs::remove_file(&copy).unwrap();
    let handle = client.send(whereabouts()).await.unwrap();
    handle.wait(LIMIT).await.unwrap();
}
