//! What a body can say of its own failure, as the test kit runs it.

use std::sync::Mutex;

use anyhow::Context as _;
use lovage::prelude::*;
use lovage::testing::TestKit;
use lovage::{FailedTask, FailureKind, Place, WaitError};

fn post(_: &str) -> std::io::Result<()> {
    Err(std::io::Error::other("the server is busy"))
}

#[task(max_retries = 5)]
async fn permanent(to: String) -> anyhow::Result<()> {
    post(&to).permanent().context("cannot post")
}

#[task(max_retries = 1)]
async fn asks_for_a_delay(to: String) -> Result<(), TaskError> {
    post(&to).retry_after(secs(90))?;
    Ok(())
}

#[task(max_retries = 1)]
async fn gives_up(ctx: &TaskContext) -> Result<(), TaskError> {
    Err(ctx.retry("the bank is busy").after(secs(30)))
}

#[task(max_retries = 0)]
async fn sleeps_twice(ctx: &TaskContext) -> anyhow::Result<u32> {
    if ctx.snoozes() < 2 {
        return Err(ctx.snooze(mins(5)).into_anyhow());
    }
    Ok(ctx.attempt())
}

#[task(ack_early)]
async fn sleeps_at_most_once(ctx: &TaskContext) -> Result<u32, TaskError> {
    match ctx.snoozes() {
        0 => Err(TaskError::new("the shop is closed").snooze(hours(8))),
        snoozes => Ok(snoozes),
    }
}

async fn failure(handle: &Handle<impl lovage::Task>) -> lovage::Failure {
    match handle.wait(secs(1)).await {
        Err(WaitError::Failed(failure)) => failure,
        Err(error) => panic!("it has not failed: {error}"),
        Ok(_) => panic!("it has not failed"),
    }
}

#[tokio::test]
async fn a_permanent_error_buries_at_once_and_keeps_its_chain() {
    let kit = TestKit::new();
    let handle = kit.client().send(permanent("ada")).await.unwrap();
    assert_eq!(kit.run_until_idle().await, 1);
    let failure = failure(&handle).await;
    assert_eq!(
        failure.to_string(),
        "error: cannot post: the server is busy"
    );
}

#[tokio::test]
async fn an_error_waits_as_long_as_it_asks_for() {
    let kit = TestKit::new();
    let posted = kit.client().send(asks_for_a_delay("ada")).await.unwrap();
    let paid = kit.client().send(gives_up()).await.unwrap();
    for (span, ran) in [(secs(0), 2), (secs(30), 1), (secs(59), 0), (secs(1), 1)] {
        kit.advance(span);
        assert_eq!(kit.run_due().await, ran, "after {span:?} more");
    }
    assert_eq!(failure(&posted).await.message, "the server is busy");
    let failure = failure(&paid).await;
    assert_eq!(
        (failure.kind, &*failure.message),
        (FailureKind::Error, "the bank is busy")
    );
}

#[tokio::test]
async fn a_snoozed_body_runs_again_in_the_same_attempt() {
    let kit = TestKit::new();
    let handle = kit.client().send(sleeps_twice()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(kit.run_due().await, 1);
        assert_eq!(handle.state().await.unwrap(), Place::Scheduled);
        kit.advance(mins(5));
    }
    assert_eq!(kit.run_due().await, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 1, "its first attempt");
}

#[tokio::test]
async fn an_at_most_once_task_may_sleep() {
    let kit = TestKit::new();
    let handle = kit.client().send(sleeps_at_most_once()).await.unwrap();
    assert_eq!(kit.run_until_idle().await, 2);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_task_that_sleeps_past_its_expiry_has_expired() {
    let kit = TestKit::new();
    let handle = kit.client().send(sleeps_twice()).expires(mins(1));
    let handle = handle.await.unwrap();
    kit.run_until_idle().await;
    let end = handle.wait(secs(1)).await;
    assert!(matches!(end, Err(WaitError::Expired)), "{end:?}");
}

#[task(queue = "bank", max_retries = 1, on_failure = tell)]
async fn charge(card: String) -> anyhow::Result<()> {
    anyhow::bail!("{card} has no cover")
}

/// Fails itself, and nobody is called for that.
#[task(queue = "ops", max_retries = 0)]
async fn tell(what: FailedTask, told: State<Mutex<Vec<FailedTask>>>) -> anyhow::Result<()> {
    told.lock().expect("nothing panics with it").push(what);
    anyhow::bail!("nobody listens")
}

#[tokio::test]
async fn a_final_failure_sends_the_callback_with_all_that_is_known() {
    let kit = TestKit::new().state(Mutex::new(Vec::<FailedTask>::new()));
    let handle = kit.client().send(charge("visa")).await.unwrap();
    assert_eq!(kit.run_until_idle().await, 3);
    let told = kit.sent::<tell>();
    let [tell { what }] = &told[..] else {
        panic!(
            "sent once, and not for each attempt or for itself: {}",
            told.len()
        );
    };
    assert_eq!((what.id, what.attempts, what.losses), (handle.id(), 2, 0));
    assert_eq!(what.failure.message, "visa has no cover");
    assert_eq!(what.message::<charge>().unwrap().card, "visa");
    let dead = |queue| kit.client().dead_letters_of(queue).unwrap();
    let letters = dead("bank").list(0, 9).await.unwrap();
    assert_eq!(letters[0].died_at, what.died_at);
    let letters = dead("ops").list(0, 9).await.unwrap();
    assert_eq!(letters[0].failure.message, "nobody listens");
}

#[tokio::test]
async fn a_send_may_name_a_callback_of_its_own() {
    let kit = TestKit::new().state(Mutex::new(Vec::<FailedTask>::new()));
    let sent = kit.client().send(permanent("ada")).on_failure(tell);
    sent.await.unwrap();
    kit.run_until_idle().await;
    kit.assert_sent::<tell>(|told| told.what.task.as_str() == "permanent");
}
