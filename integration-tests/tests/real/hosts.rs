//! What a host does to its processes: closed terminals, full disks, no more files, and floods of work.

use std::collections::HashMap;
use std::process::Command;

use lovage_core::{TaskId, secs};
use lovage_integration_tests::tasks::{flaky, quick};
use lovage_integration_tests::{Entry, LIMIT, Process, Stage, eventually};
use lovage_test_redis::FaultProxy;

use crate::stage;

/// Holds that the workers run what is sent.
async fn still_works(stage: &Stage, worker: &mut Process) {
    let client = stage.client().await;
    let handle = client.send(quick(3)).await.unwrap();
    assert_eq!(handle.wait(LIMIT).await.unwrap(), 3);
    assert_eq!(worker.ended(), None);
}

#[tokio::test]
async fn a_closed_terminal_ends_no_worker() {
    let stage = stage().await;
    let mut worker = stage.worker().spawn();
    still_works(&stage, &mut worker).await;
    worker.hang_up();
    eventually("the worker says that it goes on", async || {
        worker.says("a SIGHUP ends no worker").then_some(())
    })
    .await;
    still_works(&stage, &mut worker).await;

    worker.terminate();
    assert!(worker.end().await.success());
}

#[tokio::test]
async fn logs_that_cannot_be_written_end_no_worker() {
    let stage = stage().await;
    let mut worker = stage
        .worker()
        .output("/dev/full")
        .variable("RUST_LOG", "debug")
        .spawn();
    for _ in 0..20 {
        still_works(&stage, &mut worker).await;
    }
    worker.terminate();
    assert!(worker.end().await.success());
}

#[tokio::test]
async fn a_worker_without_file_descriptors_goes_on_once_there_are_some() {
    let stage = stage().await;
    let proxy = FaultProxy::start(&stage.redis).await;
    let mut worker = stage.worker().broker(&proxy.url()).spawn();
    still_works(&stage, &mut worker).await;

    // No more than are open: what is closed from now on is not made anew.
    limit_files(&worker, 3);
    proxy.reset_all();
    eventually("the worker says that it cannot connect", async || {
        worker.says("Too many open files").then_some(())
    })
    .await;
    assert_eq!(worker.ended(), None);

    limit_files(&worker, 1024);
    still_works(&stage, &mut worker).await;
}

/// Sets how many files a process may have open, which those that are open already do not feel.
fn limit_files(process: &Process, files: u32) {
    let status = Command::new("prlimit")
        .args(["--pid", &process.pid().to_string()])
        .arg(format!("--nofile={files}:1024"))
        .status()
        .expect("prlimit is there, as on every Linux");
    assert!(status.success());
}

#[tokio::test]
async fn thousands_of_tasks_that_fail_at_once_all_get_their_next_attempt() {
    const TASKS: usize = 5_000;

    let stage = stage().await;
    let client = stage.client().await;
    let handles = client.send_all((0..TASKS).map(|_| flaky())).await.unwrap();
    let mut workers = [
        stage.worker().concurrency(32).lease(secs(5)).spawn(),
        stage.worker().concurrency(32).lease(secs(5)).spawn(),
    ];
    stage.at_rest().await;
    let starts: HashMap<TaskId, Vec<Entry>> = stage.journal.all_starts();
    for handle in &handles {
        let attempts: Vec<u32> = starts[&handle.id()]
            .iter()
            .map(|entry| entry.attempt)
            .collect();
        assert_eq!(attempts, [1, 2], "{}", handle.id());
    }
    for worker in &mut workers {
        assert_eq!(worker.ended(), None);
    }
}
