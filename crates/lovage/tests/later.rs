//! Tasks that wait for their time: how precisely, how long, and how to look at them and change their time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lovage::prelude::*;
use lovage::testing::TestKit;
use lovage::{Cancelled, ControlError, Millis, Place, Rescheduled, TaskId, WaitError, When};

#[task(queue = "later")]
async fn note(n: u32) -> u32 {
    n
}

#[task(queue = "later", max_retries = 1, backoff = Backoff::constant(mins(10)))]
async fn fails_once(ctx: &TaskContext) -> anyhow::Result<u32> {
    anyhow::ensure!(1 < ctx.attempt(), "the first attempt fails");
    Ok(ctx.attempt())
}

/// When the tasks of the queue are due, earliest first.
async fn dues(kit: &TestKit) -> Vec<Millis> {
    let tasks = kit
        .client()
        .scheduled("later", 0, 100)
        .await
        .expect("it is in this process");
    tasks.iter().map(|task| task.due).collect()
}

#[tokio::test]
async fn a_countdown_is_kept_to_the_millisecond() {
    for (span, waits) in [
        (ms(1), 1),
        (ms(1_234), 1_234),
        (Duration::from_micros(1_001), 2),
        (Duration::from_nanos(1), 1),
    ] {
        let kit = TestKit::new();
        kit.client().send(note(1)).countdown(span).await.unwrap();
        assert_eq!(dues(&kit).await, [kit.now().plus(ms(waits))], "{span:?}");
        kit.advance(ms(waits - 1));
        assert_eq!(kit.run_due().await, 0, "{span:?}");
        kit.advance(ms(1));
        assert_eq!(kit.run_due().await, 1, "{span:?}");
    }
}

#[tokio::test]
async fn an_eta_and_an_expiry_are_kept_to_the_millisecond() {
    let kit = TestKit::new();
    let due = kit.now().plus(ms(77));
    let send = |expires| kit.client().send(note(1)).eta(due).expires_at(expires);
    let in_time = send(due.plus(ms(1))).await.unwrap();
    let too_late = send(due).await.unwrap();
    kit.advance(ms(76));
    assert_eq!(kit.run_due().await, 0);
    kit.advance(ms(1));
    kit.run_due().await;
    assert_eq!(in_time.wait(secs(1)).await.unwrap(), 1);
    let expired = too_late.wait(secs(1)).await;
    assert!(matches!(expired, Err(WaitError::Expired)), "{expired:?}");
}

/// A span cannot be negative; what a negative one would mean, an instant that has passed says.
#[tokio::test]
async fn an_eta_that_has_passed_is_at_once() {
    let kit = TestKit::new();
    let client = kit.client();
    let before_the_epoch = UNIX_EPOCH - secs(1);
    client.send(note(1)).eta(before_the_epoch).await.unwrap();
    client.send(note(2)).eta(UNIX_EPOCH).await.unwrap();
    client.send(note(3)).eta(kit.now()).await.unwrap();
    client.send(note(4)).countdown(ms(0)).await.unwrap();
    assert_eq!(client.counts("later").await.unwrap().ready, 4);
    assert_eq!(kit.run_due().await, 4);
}

#[tokio::test]
async fn an_eta_in_a_far_year_waits_and_hinders_nothing() {
    let kit = TestKit::new();
    let client = kit.client();
    let in_30_years = kit.now().plus(hours(24 * 365 * 30));
    let year_9999 = SystemTime::UNIX_EPOCH + secs(253_402_300_799);
    client.send(note(1)).eta(in_30_years).await.unwrap();
    client.send(note(2)).eta(year_9999).await.unwrap();
    client.send(note(3)).eta(Millis::MAX).await.unwrap();
    client.send(note(4)).countdown(Duration::MAX).await.unwrap();
    client.send(note(5)).countdown(secs(1)).await.unwrap();
    kit.advance(secs(1));
    assert_eq!(kit.run_due().await, 1);
    let last = Millis::MAX;
    assert_eq!(
        dues(&kit).await,
        [in_30_years, Millis::from(year_9999), last, last]
    );
    kit.advance(in_30_years.since(kit.now()).saturating_sub(ms(1)));
    assert_eq!(kit.run_due().await, 0);
    kit.advance(ms(1));
    assert_eq!(kit.run_due().await, 1);
}

#[tokio::test]
async fn a_scheduled_task_can_be_given_an_earlier_or_a_later_time() {
    let kit = TestKit::new();
    let now = kit.now();
    let handle = kit.client().send(note(7)).countdown(mins(5)).await.unwrap();
    for (when, due) in [
        (When::In(hours(2)), now.plus(hours(2))),
        (When::At(now.plus(ms(1_500))), now.plus(ms(1_500))),
        (When::At(Millis::MAX), Millis::MAX),
        (When::In(Duration::MAX), Millis::MAX),
        (When::In(secs(3)), now.plus(secs(3))),
    ] {
        let moved = handle.reschedule(when).await.unwrap();
        assert_eq!(moved, Rescheduled::Moved(due), "{when:?}");
        assert_eq!(dues(&kit).await, [due], "{when:?}");
    }
    kit.advance(ms(2_999));
    assert_eq!(kit.run_due().await, 0);
    kit.advance(ms(1));
    assert_eq!(kit.run_due().await, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 7);
}

#[tokio::test]
async fn a_time_that_has_passed_starts_a_scheduled_task_at_once() {
    let kit = TestKit::new();
    for when in [When::At(Millis::new(0)), When::In(ms(0))] {
        let handle = kit.client().send(note(1)).countdown(mins(5)).await.unwrap();
        let moved = handle.reschedule(when).await.unwrap();
        assert_eq!(moved, Rescheduled::Moved(kit.now()), "{when:?}");
        assert_eq!(kit.run_due().await, 1, "{when:?}");
    }
}

#[tokio::test]
async fn a_task_that_does_not_wait_for_its_time_keeps_its_place() {
    let kit = TestKit::new();
    let ready = kit.client().send(note(1)).await.unwrap();
    let later = When::In(mins(5));
    assert_eq!(
        ready.reschedule(later).await.unwrap(),
        Rescheduled::NotScheduled
    );
    assert_eq!(ready.state().await.unwrap(), Place::Ready);
    kit.run_due().await;
    assert_eq!(
        ready.reschedule(later).await.unwrap(),
        Rescheduled::NotScheduled
    );
    assert_eq!(ready.wait(secs(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_task_that_waits_for_its_next_attempt_can_be_tried_sooner() {
    let kit = TestKit::new();
    let handle = kit.client().send(fails_once()).await.unwrap();
    kit.run_due().await;
    assert_eq!(dues(&kit).await, [kit.now().plus(mins(10))]);
    handle.reschedule(When::In(ms(0))).await.unwrap();
    assert_eq!(kit.run_due().await, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn scheduled_tasks_are_listed_earliest_first_and_in_pages() {
    let kit = TestKit::new();
    let mut sent = Vec::new();
    for n in [3, 1, 2] {
        let later = kit.client().send(note(n)).countdown(secs(n.into()));
        sent.push((n, later.await.unwrap().id()));
    }
    kit.client().send(note(9)).await.unwrap();
    sent.sort_unstable();
    for (offset, limit, expected) in [(0, 2, &sent[..2]), (2, 2, &sent[2..]), (3, 2, &[])] {
        let page = kit.client().scheduled("later", offset, limit).await;
        let found: Vec<_> = page.unwrap().iter().map(|task| task.id).collect();
        let expected: Vec<_> = expected.iter().map(|(_, id)| *id).collect();
        assert_eq!(found, expected, "offset {offset}, limit {limit}");
    }
}

/// An operator has a queue and an id from a list, and not the task's type.
#[tokio::test]
async fn a_task_can_be_moved_and_cancelled_by_its_id_alone() {
    let kit = TestKit::new();
    let client = kit.client();
    client.send(note(1)).countdown(mins(5)).await.unwrap();
    let id = client.scheduled("later", 0, 1).await.unwrap()[0].id;
    let due = kit.now().plus(secs(1));
    let moved = client.reschedule("later", id, When::In(secs(1))).await;
    assert_eq!(moved.unwrap(), Rescheduled::Moved(due));
    let cancelled = client.cancel("later", id).await.unwrap();
    assert_eq!(cancelled, Cancelled::Removed);
    kit.advance(mins(10));
    assert_eq!(kit.run_due().await, 0);

    let gone = client.cancel("later", id).await.unwrap();
    assert_eq!(gone, Cancelled::Unknown);
    let gone = client.reschedule("later", id, When::In(secs(1))).await;
    assert_eq!(gone.unwrap(), Rescheduled::NotScheduled);
    for answer in [
        client.cancel("no {queue}", id).await.err(),
        client.scheduled("", 0, 1).await.err(),
        client
            .reschedule("a b", TaskId::random(), When::In(secs(1)))
            .await
            .err(),
    ] {
        assert!(matches!(answer, Some(ControlError::Name(_))), "{answer:?}");
    }
}
