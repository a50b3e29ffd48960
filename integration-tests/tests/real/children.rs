//! How children of the process lane begin, and what they leave behind.

use lovage::{FailureKind, Place, ms};
use lovage_integration_tests::risky::{is_running, leave_a_daemon, whereabouts_once};
use lovage_integration_tests::{LIMIT, eventually};
use lovage_test_redis::signal;

use crate::processes::{builder, failure, id_in, worker};
use crate::stage;

#[tokio::test]
async fn a_child_that_leaves_a_daemon_has_crashed() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut worker = worker(&stage);
    let file = stage.folder().join("daemon");
    let handle = client.send(leave_a_daemon(file.to_str().unwrap()));
    let handle = handle.await.unwrap();
    let daemon = Daemon(id_in(&file).await);
    let failure = failure(handle.wait(LIMIT).await);
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(failure.message.contains("exit status: 0"), "{failure}");
    assert!(is_running(daemon.0), "it is its own master");
    assert!(worker.ended().is_none());
}

/// A process that a child of a child left behind.
struct Daemon(u32);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone where its test has failed early.
        let _ = signal(self.0, "KILL");
    }
}

#[tokio::test]
async fn a_child_that_does_not_start_costs_no_attempt() {
    let stage = stage().await;
    let client = stage.client().await;
    let fails = stage.folder().join("fail");
    std::fs::write(&fails, "").unwrap();
    let worker = worker(&stage);
    let once = client.send(whereabouts_once()).await.unwrap();
    eventually("it is put off", async || {
        (once.state().await.unwrap() == Place::Scheduled).then_some(())
    })
    .await;
    assert!(worker.says("this child is to fail"));
    std::fs::remove_file(&fails).unwrap();
    once.wait(LIMIT).await.unwrap();
    let starts = stage.journal.starts(once.id());
    assert_eq!((starts.len(), starts[0].attempt), (1, 1), "{starts:?}");
}

#[tokio::test]
async fn children_that_never_start_end_as_failures_after_the_grace() {
    let stage = stage().await;
    let client = stage.client().await;
    std::fs::write(stage.folder().join("fail"), "").unwrap();
    let _worker = builder(&stage).flag("unknown-task-grace", "0ms").spawn();
    let once = client.send(whereabouts_once()).await.unwrap();
    let failure = failure(once.wait(LIMIT).await);
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(
        failure.causes[0].contains("this child is to fail"),
        "{failure}"
    );
    assert_eq!(stage.journal.starts(once.id()).len(), 0);
}

#[tokio::test]
async fn a_stopped_worker_gives_back_what_waits_for_a_child_to_start() {
    let stage = stage().await;
    let client = stage.client().await;
    let waits = stage.folder().join("wait");
    std::fs::write(&waits, "").unwrap();
    let mut stopped = builder(&stage).grace(ms(100)).spawn();
    let once = client.send(whereabouts_once()).await.unwrap();
    let child = id_in(&stage.folder().join("began")).await;
    stopped.terminate();
    assert_eq!(stopped.end().await.code(), Some(0));
    assert_eq!(once.state().await.unwrap(), Place::Ready);
    eventually("its child has ended", async || {
        (!is_running(child)).then_some(())
    })
    .await;
    std::fs::remove_file(&waits).unwrap();
    let _next = worker(&stage);
    once.wait(LIMIT).await.unwrap();
}
