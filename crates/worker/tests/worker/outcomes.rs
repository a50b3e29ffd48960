//! What becomes of a task, by how its run ends.

use std::sync::Arc;

use crate::support::{Act, Corruption, Stand, envelope, queue, send, until};
use lovage_core::{
    Ack, Backoff, Control, FailureKind, Inspect, Millis, Outcome, Place, Results, TaskName, When,
    ms, secs,
};
use lovage_core::{Awaited, Clock, ManualClock};

async fn outcome(stand: &Stand, id: lovage_core::TaskId) -> Outcome {
    let awaited = stand
        .memory
        .outcome(&queue("default"), id, secs(3600))
        .await
        .unwrap();
    let Awaited::Outcome(bytes) = awaited else {
        panic!("no outcome: {awaited:?}");
    };
    Outcome::decode(&bytes).unwrap()
}

#[tokio::test]
async fn a_task_runs_and_its_result_is_kept() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let id = stand.send(Act::Succeed).await;
    assert_eq!(outcome(&stand, id).await, Outcome::Done(vec![7].into()));
    worker.shutdown().await;
    assert_eq!(worker.stats().done, 1);
}

#[tokio::test]
async fn a_failure_is_retried_and_then_buried() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Fail);
    message.max_retries = Some(2);
    message.backoff = Some(Backoff::constant(secs(1)));
    send(&stand.memory, &message).await;

    let letter = stand.first_dead(ms(100)).await;
    assert_eq!(letter.failure.message, "it failed");
    assert_eq!(stand.probe.started(), 3, "one attempt and two retries");
    worker.shutdown().await;
}

#[tokio::test]
async fn a_permanent_failure_is_buried_at_once() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    stand.send(Act::FailForGood).await;
    assert_eq!(stand.first_dead(ms(0)).await.failure.message, "never");
    assert_eq!(stand.probe.started(), 1);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_snoozed_task_runs_again_later_in_the_same_attempt() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let (ms, when_told) = (5_000, false);
    let mut message = envelope("default", &Act::Snooze { ms, when_told });
    (message.max_retries, message.ack) = (Some(0), Ack::Early);
    let id = send(&stand.memory, &message).await;
    until("it sleeps", || worker.stats().snoozed == 1).await;
    let place = stand.memory.state(&queue("default"), id).await.unwrap();
    assert_eq!((place, stand.probe.started()), (Place::Scheduled, 1));
    stand.memory.advance(secs(5));
    assert!(matches!(outcome(&stand, id).await, Outcome::Done(_)));
    worker.shutdown().await;
}

/// It has said itself that it may start again, which being interrupted does not.
#[tokio::test]
async fn a_snooze_of_an_interrupted_run_counts() {
    let stand = Stand::new();
    let worker = stand
        .with(|it| it.shutdown_grace = ms(0))
        .start()
        .await
        .unwrap();
    let (ms, when_told) = (5_000, true);
    let mut message = envelope("default", &Act::Snooze { ms, when_told });
    message.ack = Ack::Early;
    let id = send(&stand.memory, &message).await;
    until("the body runs", || stand.probe.started() == 1).await;
    worker.shutdown().await;
    let place = stand.memory.state(&queue("default"), id).await.unwrap();
    assert_eq!((place, worker.stats().snoozed), (Place::Scheduled, 1));
}

#[tokio::test(start_paused = true)]
async fn a_snooze_at_the_soft_limit_is_no_timeout() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let (ms, when_told) = (5_000, true);
    let mut message = envelope("default", &Act::Snooze { ms, when_told });
    (message.timeout, message.max_retries) = (Some(secs(3)), Some(0));
    send(&stand.memory, &message).await;
    until("it sleeps", || worker.stats().snoozed == 1).await;
    assert!(stand.dead().await.is_empty());
    worker.shutdown().await;
}

#[tokio::test]
async fn a_panic_of_any_kind_is_a_failure_of_its_task_alone() {
    for (act, text) in [
        (Act::PanicWithText, "a text"),
        (Act::PanicWithBomb, "with a value that is no text"),
        (Act::PanicInDrop, "a bomb"),
    ] {
        let stand = Stand::new();
        let worker = stand.worker().start().await.unwrap();
        let mut message = envelope("default", &act);
        message.max_retries = Some(0);
        send(&stand.memory, &message).await;
        let failure = stand.first_dead(ms(0)).await.failure;
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::Panic, text)
        );
        let run = failure.run.unwrap();
        let location = run.location.unwrap();
        assert!(location.contains("worker/support.rs:"), "{location}");
        assert_eq!((run.attempt, run.losses), (Some(1), Some(0)));
        assert_eq!(run.pid, Some(std::process::id()));
        assert!(run.worker.is_some() && run.claimed_at.is_some() && run.ran.is_some());

        let id = stand.send(Act::Succeed).await;
        assert!(
            matches!(outcome(&stand, id).await, Outcome::Done(_)),
            "the worker goes on"
        );
        worker.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_cancels_the_token() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::WaitPolitely);
    (message.timeout, message.max_retries) = (Some(secs(3)), Some(0));
    send(&stand.memory, &message).await;
    let failure = stand.first_dead(ms(0)).await.failure;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains("3s"), "{failure}");
    assert_eq!(
        stand
            .probe
            .cancelled
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ignores_its_token_is_given_up_a_grace_after_its_soft_limit() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Wait);
    (message.timeout, message.max_retries) = (Some(secs(3)), Some(0));
    send(&stand.memory, &message).await;
    assert_eq!(
        stand.first_dead(ms(0)).await.failure.kind,
        FailureKind::Timeout
    );
    assert_eq!(stand.probe.finished(), 0);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_hard_timeout_ends_a_run_at_once_and_is_retried_as_a_failure() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Wait);
    (message.hard_timeout, message.max_retries) = (Some(secs(2)), Some(1));
    message.backoff = Some(Backoff::constant(secs(1)));
    send(&stand.memory, &message).await;
    assert_eq!(
        stand.first_dead(ms(10)).await.failure.kind,
        FailureKind::Timeout
    );
    assert_eq!(stand.probe.started(), 2);
    worker.shutdown().await;
}

#[tokio::test]
async fn an_unknown_task_is_put_off_and_buried_after_its_grace_with_what_is_known() {
    let stand = Stand::new();
    let builder = stand.with(|it| it.unknown_task_grace = secs(5));
    let worker = builder.start().await.unwrap();
    let mut message = envelope("default", &Act::Succeed);
    message.task = TaskName::parse("newer.task").unwrap();
    send(&stand.memory, &message).await;

    let letter = stand.first_dead(ms(50)).await;
    assert_eq!(letter.failure.kind, FailureKind::UnknownTask);
    for part in ["\"newer.task\"", "act, compute"] {
        assert!(letter.failure.message.contains(part), "{}", letter.failure);
    }
    let parked = worker.stats().parked;
    assert!(
        (2..=6).contains(&parked),
        "put off {parked} times with a growing delay"
    );
    worker.shutdown().await;
}

#[tokio::test]
async fn a_message_of_a_newer_version_waits_for_a_newer_worker() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    stand.broker.corrupt(|bytes| bytes[0] = 200);
    let id = stand.send(Act::Succeed).await;
    until("it is put off", || worker.stats().parked == 1).await;
    let place = stand.memory.state(&queue("default"), id).await.unwrap();
    assert_eq!(place, Place::Scheduled);
    worker.shutdown().await;
}

#[tokio::test]
async fn bad_bytes_are_buried_at_once() {
    for change in [
        (|bytes: &mut Vec<u8>| bytes.truncate(20)) as Corruption,
        |bytes| bytes[38] = 0xc1,
        |bytes| bytes[6] ^= 1,
    ] {
        let stand = Stand::new();
        let worker = stand.worker().start().await.unwrap();
        stand.broker.corrupt(change);
        stand.send(Act::Succeed).await;
        assert_eq!(
            stand.first_dead(ms(0)).await.failure.kind,
            FailureKind::Malformed
        );
        assert_eq!(stand.probe.started(), 0);
        worker.shutdown().await;
    }
}

#[tokio::test]
async fn arguments_that_the_task_does_not_take_are_buried_at_once() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Succeed);
    message.args = lovage_core::encode_args(&"rubbish").unwrap();
    send(&stand.memory, &message).await;
    assert_eq!(
        stand.first_dead(ms(0)).await.failure.kind,
        FailureKind::Malformed
    );
    worker.shutdown().await;
}

#[tokio::test]
async fn an_expired_task_does_not_start() {
    let stand = Stand::new();
    let mut message = envelope("default", &Act::Succeed);
    message.expires = Some(When::In(secs(10)));
    let id = send(&stand.memory, &message).await;
    stand.memory.advance(secs(10));
    let worker = stand.worker().start().await.unwrap();
    assert_eq!(outcome(&stand, id).await, Outcome::Expired);
    assert_eq!((stand.probe.started(), worker.stats().expired), (0, 1));
    worker.shutdown().await;
}

#[tokio::test]
async fn a_task_that_is_due_later_starts_then() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Succeed);
    message.start = Some(When::In(secs(5)));
    let id = send(&stand.memory, &message).await;
    stand.memory.advance(secs(4));
    assert_eq!(stand.probe.started(), 0);
    stand.memory.advance(secs(1));
    assert!(matches!(outcome(&stand, id).await, Outcome::Done(_)));
    worker.shutdown().await;
}

#[tokio::test]
async fn cancelling_a_running_task_cancels_its_token_and_it_is_gone() {
    let stand = Stand::new();
    // A third of the lease is when the cancellation is heard of.
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let id = stand.send(Act::WaitPolitely).await;
    until("the body runs", || stand.probe.started() == 1).await;
    stand.memory.cancel(&queue("default"), id).await.unwrap();
    assert_eq!(outcome(&stand, id).await, Outcome::Cancelled);
    stand.until_empty().await;
    worker.shutdown().await;
    assert!(stand.dead().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_body_that_ignores_its_token_is_aborted_after_a_grace() {
    let stand = Stand::new();
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let id = stand.send(Act::Wait).await;
    until("the body runs", || stand.probe.started() == 1).await;
    stand.memory.cancel(&queue("default"), id).await.unwrap();
    stand.until_empty().await;
    assert_eq!(stand.probe.finished(), 0);
    worker.shutdown().await;
}

#[tokio::test]
async fn an_at_most_once_task_is_not_run_again_after_it_failed_or_was_interrupted() {
    let stand = Stand::new();
    let worker = stand
        .with(|it| it.shutdown_grace = ms(0))
        .start()
        .await
        .unwrap();
    let mut message = envelope("default", &Act::Fail);
    message.ack = Ack::Early;
    send(&stand.memory, &message).await;
    assert_eq!(stand.first_dead(ms(0)).await.failure.message, "it failed");

    let mut message = envelope("default", &Act::WaitPolitely);
    message.ack = Ack::Early;
    send(&stand.memory, &message).await;
    until("the body runs", || stand.probe.started() == 2).await;
    worker.shutdown().await;
    let kinds: Vec<_> = stand
        .dead()
        .await
        .iter()
        .map(|letter| letter.failure.kind)
        .collect();
    assert_eq!(kinds, [FailureKind::Error, FailureKind::Abandoned]);
}

#[tokio::test]
async fn instants_are_the_brokers_own() {
    // The host's clock is years away from the broker's: a task without a start is due, one that expires has not expired.
    let clock = ManualClock::starting_at(Millis::new(1_000));
    let memory = lovage_broker_memory::MemoryBroker::with_clock(Clock::Manual(clock));
    let stand = Stand {
        broker: crate::support::Faulty::new(memory.clone()),
        memory,
        probe: Arc::default(),
    };
    let worker = stand.worker().start().await.unwrap();
    let mut message = envelope("default", &Act::Succeed);
    message.expires = Some(When::In(secs(10)));
    let id = send(&stand.memory, &message).await;
    assert!(matches!(outcome(&stand, id).await, Outcome::Done(_)));
    worker.shutdown().await;
}
