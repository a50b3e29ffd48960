//! How a worker ends: asked to, at once, dropped, or by a panic of its own.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::support::{Act, Compute, Stand, envelope, queue, send, until};
use lovage_core::{Inspect, Place, mins, ms, secs};
use lovage_worker::{NotReady, RunningWorker};

#[tokio::test]
async fn a_shutdown_lets_runs_end() {
    let stand = Stand::new();
    let worker = stand
        .with(|it| it.shutdown_grace = mins(5))
        .start()
        .await
        .unwrap();
    stand.send(Act::Wait).await;
    until("the body runs", || stand.probe.started() == 1).await;
    let ((), ()) = tokio::join!(worker.shutdown(), async {
        until("it is quiet", || worker.ready().is_err()).await;
        stand.send(Act::Succeed).await;
        stand.probe.gate.add_permits(1);
    });
    assert_eq!(worker.stats().done, 1);
    let counts = stand.counts().await;
    assert_eq!(
        (counts.active, counts.ready),
        (0, 1),
        "what came after it is left"
    );
}

#[tokio::test]
async fn a_shutdown_gives_back_what_a_claim_under_way_brings() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.late_claims, true);
    let id = stand.send(Act::Succeed).await;
    let worker = stand.worker().start().await.unwrap();
    until("the claim is under way", || {
        stand.broker.faults.claims.load(Ordering::SeqCst) == 1
    })
    .await;
    let ((), ()) = tokio::join!(worker.shutdown(), async {
        until("it is quiet", || worker.ready().is_err()).await;
        stand.broker.set(|faults| &faults.late_claims, false);
    });
    assert_eq!(
        stand.memory.state(&queue("default"), id).await.unwrap(),
        Place::Ready
    );
    assert_eq!((worker.stats().released, worker.stats().held), (1, 0));
}

#[tokio::test]
async fn a_shutdown_gives_back_what_does_not_end_without_counting_an_attempt() {
    let stand = Stand::new();
    let worker = stand
        .with(|it| it.shutdown_grace = ms(50))
        .start()
        .await
        .unwrap();
    let polite = stand.send(Act::WaitPolitely).await;
    let stubborn = stand.send(Act::Wait).await;
    until("both run", || stand.probe.started() == 2).await;
    worker.shutdown().await;
    for id in [polite, stubborn] {
        assert_eq!(
            stand.memory.state(&queue("default"), id).await.unwrap(),
            Place::Ready
        );
    }
    assert_eq!(worker.stats().released, 2);

    stand.probe.gate.add_permits(2);
    let next = stand.worker().start().await.unwrap();
    until("both run again", || stand.probe.finished() == 2).await;
    next.shutdown().await;
    assert!(stand.dead().await.is_empty());
}

/// Nothing stops a thread: another worker would run the task beside it.
#[tokio::test]
async fn what_runs_on_a_thread_is_not_given_back_before_it_ends() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let id = send(&stand.memory, &envelope("default", &Compute)).await;
    until("it runs", || stand.probe.started() == 1).await;
    worker.shutdown_now().await;
    let place = stand.memory.state(&queue("default"), id).await.unwrap();
    assert_eq!(
        place,
        Place::Active,
        "it is its worker's until the lease ends"
    );
    assert_eq!(worker.stats().released, 0);
    stand.probe.open();
}

#[tokio::test]
async fn a_shutdown_at_once_is_heard_after_any_number_of_others() {
    let stand = Stand::new();
    let worker = stand.with(|it| it.shutdown_grace = mins(5));
    let worker = worker.start().await.unwrap();
    stand.send(Act::Wait).await;
    until("the body runs", || stand.probe.started() == 1).await;
    // All are asked before the worker hears the first.
    tokio::join!(
        worker.shutdown(),
        worker.shutdown(),
        worker.shutdown(),
        worker.shutdown_now()
    );
    assert_eq!(worker.stats().released, 1);
}

#[tokio::test]
async fn a_shutdown_ends_although_the_broker_never_answers() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    stand.send(Act::Wait).await;
    until("the body runs", || stand.probe.started() == 1).await;
    stand.broker.set(|faults| &faults.hangs, true);
    worker.shutdown_now().await;
    assert_eq!(worker.stats().held, 1, "left to the lease");
}

#[tokio::test]
async fn a_worker_whose_main_loop_panics_ends_and_is_not_live() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.claims_panic, true);
    let worker = stand.worker().start().await.unwrap();
    worker.ended().await;
    assert!(!worker.live());
}

#[tokio::test]
async fn a_worker_whose_lease_thread_panics_ends_and_is_not_live() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.renewals_panic, true);
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    worker.ended().await;
    assert!(!worker.live());
}

#[tokio::test]
async fn a_dropped_worker_gives_everything_back() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let id = stand.send(Act::WaitPolitely).await;
    until("the body runs", || stand.probe.started() == 1).await;
    drop(worker);
    let start = Instant::now();
    while stand.memory.state(&queue("default"), id).await.unwrap() != Place::Ready {
        assert!(start.elapsed() < secs(20));
        tokio::time::sleep(ms(5)).await;
    }
}

/// A worker that ends after so many runs.
async fn limited(stand: &Stand, tasks_max: u64) -> RunningWorker {
    let worker = stand.with(|it| it.max_tasks = Some(tasks_max));
    worker.start().await.unwrap()
}

#[tokio::test]
async fn a_worker_inside_a_program_that_reaches_a_limit_drains_and_says_why() {
    let stand = Stand::new();
    let worker = limited(&stand, 2).await;
    stand.send(Act::Wait).await;
    until("the body runs", || stand.probe.started() == 1).await;
    for _ in 0..2 {
        stand.send(Act::Succeed).await;
    }
    until("it drains", || worker.ready().is_err()).await;
    let reason = NotReady::MaxTasks { tasks: 2, limit: 2 };
    until("it says why", || worker.outgrown() == Some(reason.clone())).await;
    assert!(worker.ready().unwrap_err().contains(&reason));
    let left = stand.send(Act::Succeed).await;
    stand.probe.gate.add_permits(1);
    worker.ended().await;
    assert_eq!(worker.stats().done, 3, "what ran has ended");
    let state = stand.memory.state(&queue("default"), left).await.unwrap();
    assert_eq!(state, Place::Ready);
}

#[tokio::test]
async fn the_limit_of_tasks_counts_runs_that_snoozed_and_nothing_that_never_ran() {
    let stand = Stand::new();
    let worker = limited(&stand, 3).await;
    stand
        .broker
        .corrupt(|bytes| bytes.truncate(bytes.len() - 1));
    for _ in 0..3 {
        stand.send(Act::Succeed).await;
    }
    until("all are buried without a run", || {
        worker.stats().buried == 3
    })
    .await;
    stand.broker.corrupt(|_| {});
    for _ in 0..3 {
        let (ms, when_told) = (3_600_000, false);
        stand.send(Act::Snooze { ms, when_told }).await;
    }
    worker.ended().await;
    let reason = NotReady::MaxTasks { tasks: 3, limit: 3 };
    assert_eq!(worker.outgrown(), Some(reason));
    assert_eq!((worker.stats().snoozed, worker.stats().buried), (3, 3));
}
