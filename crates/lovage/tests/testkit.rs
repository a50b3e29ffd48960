//! The test kit: what it sees, what it runs, and when.

use std::sync::atomic::{AtomicU32, Ordering};

use lovage::prelude::*;
use lovage::testing::TestKit;
use lovage::{FailureKind, Place, Registry, Revived, States, TaskDef, WaitError};

#[task]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(queue = "mail", max_retries = 2, backoff = Backoff::constant(secs(60)))]
async fn flaky(context: &TaskContext, failures: u32) -> anyhow::Result<u32> {
    anyhow::ensure!(failures < context.attempt(), "not yet");
    Ok(context.attempt())
}

#[task(max_retries = 0)]
async fn panics() {
    panic!("at the disco");
}

#[task]
async fn count_down(
    from: u32,
    client: State<Client>,
    seen: State<AtomicU32>,
) -> anyhow::Result<()> {
    seen.fetch_add(1, Ordering::SeqCst);
    if 0 < from {
        client.send(count_down(from - 1)).await?;
    }
    Ok(())
}

#[task(cpu)]
fn digits(n: u64) -> usize {
    n.to_string().len()
}

#[tokio::test]
async fn sent_messages_are_seen_with_their_fields() {
    let kit = TestKit::new();
    kit.client().send(add(1, 2)).queue("sums").await.unwrap();

    kit.assert_sent::<add>(|sum| sum.a == 1 && sum.b == 2);
    assert_eq!(kit.sent::<flaky>().len(), 0);
    assert_eq!(kit.envelopes()[0].queue.as_str(), "sums");
}

#[tokio::test]
#[should_panic(expected = "no add that satisfies the condition was sent (1 of that task were)")]
async fn what_was_not_sent_is_reported_with_what_was() {
    let kit = TestKit::new();
    kit.client().send(add(1, 2)).await.unwrap();
    kit.assert_sent::<add>(|sum| sum.a == 7);
}

#[tokio::test]
async fn nothing_runs_until_it_is_told_to() {
    let kit = TestKit::new();
    let sum = kit.client().send(add(1, 2)).await.unwrap();
    assert_eq!(sum.state().await.unwrap(), Place::Ready);
    assert_eq!(kit.run_ready().await, 1);
    assert_eq!(sum.wait(secs(1)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_retry_is_due_when_the_clock_says_so() {
    let kit = TestKit::new();
    let handle = kit.client().send(flaky(1)).await.unwrap();
    assert_eq!(kit.run_due().await, 1);
    assert_eq!(handle.state().await.unwrap(), Place::Scheduled);

    kit.advance(secs(59));
    assert_eq!(kit.run_due().await, 0);
    kit.advance(secs(1));
    assert_eq!(kit.run_due().await, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_task_that_fails_for_good_is_dead_with_its_reason() {
    let kit = TestKit::new();
    let handle = kit.client().send(flaky(9)).await.unwrap();
    assert_eq!(kit.run_until_idle().await, 3);
    let Err(WaitError::Failed(failure)) = handle.wait(secs(1)).await else {
        panic!("it has not failed");
    };
    assert_eq!(failure.message, "not yet");
    assert_eq!(handle.state().await.unwrap(), Place::Dead);
    let dead = kit.client().dead_letters_of("mail").unwrap();
    let letters = dead.list(0, 10).await.unwrap();
    assert_eq!(letters[0].id, handle.id());

    assert_eq!(dead.revive(handle.id()).await.unwrap(), Revived::Ready);
    assert_eq!(kit.run_until_idle().await, 3);
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let kit = TestKit::new();
    let handle = kit.client().send(panics()).await.unwrap();
    kit.run_due().await;
    let Err(WaitError::Failed(failure)) = handle.wait(secs(1)).await else {
        panic!("it has not failed");
    };
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Panic, "at the disco")
    );
}

#[tokio::test]
async fn what_a_task_sends_runs_in_the_next_round() {
    let kit = TestKit::new().state(AtomicU32::new(0));
    kit.client().send(count_down(3)).await.unwrap();
    assert_eq!(kit.run_ready().await, 1);
    assert_eq!(kit.run_ready().await, 1);
    assert_eq!(kit.run_due().await, 2);
    assert_eq!(kit.sent::<count_down>().len(), 4);
}

#[tokio::test]
#[should_panic(expected = "takes State<core::sync::atomic::AtomicU32>, and there is none")]
async fn a_missing_state_is_named() {
    let kit = TestKit::new();
    kit.client().send(count_down(0)).await.unwrap();
    kit.run_due().await;
}

#[tokio::test]
async fn bodies_that_compute_run_as_well() {
    let kit = TestKit::new();
    let handle = kit.client().send(digits(1234)).await.unwrap();
    kit.run_due().await;
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 4);
}

#[tokio::test]
async fn an_expired_task_does_not_run() {
    let kit = TestKit::new();
    let handle = kit.client().send(add(1, 2)).expires(secs(5)).await.unwrap();
    kit.advance(secs(6));
    kit.run_due().await;
    assert!(matches!(
        handle.wait(secs(1)).await,
        Err(WaitError::Expired)
    ));
}

#[tokio::test]
async fn a_task_without_a_body_is_buried() {
    let registry = Registry::new().with(digits::DEF).build().unwrap();
    let kit = TestKit::new().registry(registry);
    let handle = kit.client().send(add(1, 2)).await.unwrap();
    kit.run_due().await;
    let Err(WaitError::Failed(failure)) = handle.wait(secs(1)).await else {
        panic!("it has not failed");
    };
    assert_eq!(failure.kind, FailureKind::UnknownTask);
}

fn registry(task: TaskDef) -> Registry {
    Registry::new().with(task).build().expect("one task")
}

#[tokio::test]
async fn an_eager_client_runs_a_task_and_its_retries_before_it_answers() {
    let client = Client::eager(registry(flaky::DEF), States::new()).unwrap();
    let handle = client.send(flaky(2)).countdown(hours(5)).await.unwrap();
    assert_eq!(handle.state().await.unwrap(), Place::Gone);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 3);
}

#[tokio::test]
async fn an_eager_client_runs_what_its_tasks_send() {
    let states = States::new().with(AtomicU32::new(0));
    let seen = states.get::<AtomicU32>().unwrap();
    let client = Client::eager(registry(count_down::DEF), states).unwrap();
    client.send(count_down(4)).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_eager_client_is_refused_where_a_state_is_missing() {
    let error = Client::eager(registry(count_down::DEF), States::new()).unwrap_err();
    assert!(error.to_string().contains("AtomicU32"), "{error}");
}
