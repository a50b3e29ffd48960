//! What holds when a task that waits for its time is given another one.

use lovage_core::{
    Broker, Cancelled, Control, Envelope, Inspect, Millis, Place, Rescheduled, TaskId, Verdict,
    When, WorkerId, ms, secs,
};

use crate::world::{LONG, almost, bury, done, id, settle_down, soon};
use crate::{Harness, World};

async fn reschedule<H: Harness>(world: &World<H>, id: TaskId, when: When) -> Rescheduled {
    let answer = world.broker.reschedule(&world.queue, id, when).await;
    answer.unwrap()
}

async fn starting<H: Harness>(world: &World<H>, id: TaskId, when: When) -> TaskId {
    let envelope = Envelope {
        start: Some(when),
        ..world.envelope_of(id)
    };
    world.send_one(envelope).await
}

/// A task that is due in a minute.
async fn in_a_minute<H: Harness>(world: &World<H>) -> TaskId {
    starting(world, TaskId::random(), When::In(secs(60))).await
}

pub async fn a_task_can_be_due_earlier_or_later(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for span in [secs(6), secs(9)] {
        for when in [When::In(span), When::At(world.now().plus(span))] {
            let due = world.now().plus(span);
            let id = starting(&world, TaskId::random(), When::In(secs(7))).await;
            assert_eq!(reschedule(&world, id, when).await, Rescheduled::Moved(due));
            assert_eq!(world.state(id).await, Place::Scheduled);
            assert_eq!(world.batch(worker, 9).await.next_due, Some(span));
            let broker = &world.broker;
            broker.cancel(&world.queue, id).await.unwrap();
        }
    }
    let id = in_a_minute(&world).await;
    reschedule(&world, id, When::In(secs(5))).await;
    world.advance(almost(secs(5)));
    assert_eq!(world.claim_ids(worker, 9).await, []);
    world.advance(ms(1));
    assert_eq!(world.claim_ids(worker, 9).await, [id]);
}

pub async fn the_last_change_of_a_time_counts(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = in_a_minute(&world).await;
    for span in [5, 500, 5, 5, 50, 3] {
        let due = world.now().plus(secs(span));
        let moved = reschedule(&world, id, When::In(secs(span))).await;
        assert_eq!(moved, Rescheduled::Moved(due));
    }
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!(counts.scheduled, 1);
    world.advance(secs(3));
    assert_eq!(world.claim_ids(worker, 9).await, [id]);
    world.advance(secs(500));
    assert_eq!(
        world.broker.counts(&world.queue).await.unwrap().scheduled,
        0
    );
}

pub async fn a_time_that_has_passed_is_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    for when in [
        When::At(Millis::new(0)),
        When::At(world.now()),
        When::In(ms(0)),
    ] {
        let worker = world.worker().await;
        let id = in_a_minute(&world).await;
        let moved = reschedule(&world, id, when).await;
        assert_eq!(moved, Rescheduled::Moved(world.now()), "{when:?}");
        assert_eq!(world.claim_ids(worker, 9).await, [id], "{when:?}");
        world.advance(secs(60));
    }
}

pub async fn a_time_in_a_far_century_is_at_most_the_last(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = in_a_minute(&world).await;
    for when in [
        When::At(Millis::MAX),
        When::In(std::time::Duration::MAX),
        When::In(secs(u64::MAX / 1000)),
    ] {
        let moved = reschedule(&world, id, when).await;
        assert_eq!(moved, Rescheduled::Moved(Millis::MAX), "{when:?}");
        let far = Millis::MAX.since(world.now());
        assert_eq!(world.batch(worker, 9).await.next_due, Some(far));
    }
    reschedule(&world, id, When::In(ms(1))).await;
    world.advance(ms(1));
    assert_eq!(world.claim_ids(worker, 9).await, [id]);
}

pub async fn a_time_is_kept_to_the_millisecond(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = in_a_minute(&world).await;
    for (span, expected) in [
        (std::time::Duration::from_micros(1_001), 2),
        (ms(1_234), 1_234),
        (ms(7), 7),
    ] {
        let due = world.now().plus(ms(expected));
        let moved = reschedule(&world, id, When::In(span)).await;
        assert_eq!(moved, Rescheduled::Moved(due), "{span:?}");
    }
    world.advance(ms(6));
    assert_eq!(world.claim_ids(worker, 9).await, []);
    world.advance(ms(1));
    assert_eq!(world.claim_ids(worker, 9).await, [id]);
}

/// Ready, active, dead, gone: their time has come already, or never will.
pub async fn only_a_scheduled_task_can_be_given_another_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(3).await;
    let held = world.claim(worker, 2).await;
    world.settle(worker, &held[..1], bury("broken")).await;
    for (id, place) in [
        (sent[0], Place::Dead),
        (sent[1], Place::Active),
        (sent[2], Place::Ready),
        (TaskId::random(), Place::Gone),
    ] {
        for when in [When::In(secs(5)), When::At(Millis::new(0))] {
            let answer = reschedule(&world, id, when).await;
            assert_eq!(answer, Rescheduled::NotScheduled, "{place:?}");
            assert_eq!(world.state(id).await, place);
        }
    }
    world.settle(worker, &held[1..], done(None)).await;
    let answer = reschedule(&world, sent[1], When::In(secs(5))).await;
    assert_eq!(answer, Rescheduled::NotScheduled);
    assert_eq!(world.claim_ids(worker, 9).await, sent[2..]);
}

pub async fn a_task_of_another_queue_is_left_as_it_is(harness: impl Harness) {
    let world = World::start(harness).await;
    let id = in_a_minute(&world).await;
    let other = crate::world::queue("other");
    let answer = world.broker.reschedule(&other, id, When::In(secs(5))).await;
    assert_eq!(answer.unwrap(), Rescheduled::NotScheduled);
    let worker = world.worker().await;
    assert_eq!(world.batch(worker, 9).await.next_due, Some(secs(60)));
}

pub async fn a_waiting_retry_can_be_given_another_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let held = world.claim_one(worker).await;
    let later = Verdict::RetryIn(secs(10));
    world.settle_one(worker, &held, later).await;
    let due = world.now().plus(secs(2));
    let moved = reschedule(&world, held.id, When::In(secs(2))).await;
    assert_eq!(moved, Rescheduled::Moved(due));
    world.advance(secs(2));
    let again = world.claim_one(worker).await;
    assert_eq!(Envelope::decode(&again.bytes).unwrap().attempts, 1);
}

/// What it was sent with is what people see; when it runs is the queue's affair.
pub async fn the_envelope_keeps_the_start_it_was_sent_with(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let start = When::At(world.now().plus(secs(60)));
    let id = in_a_minute(&world).await;
    reschedule(&world, id, When::In(secs(1))).await;
    world.advance(secs(1));
    let delivery = world.claim_one(worker).await;
    assert_eq!(delivery.id, id);
    let envelope = Envelope::decode(&delivery.bytes).unwrap();
    assert_eq!(envelope.start, Some(start));
}

/// It keeps its name, so that sending it again is still one task, and it can be taken back.
pub async fn a_task_with_another_time_is_the_same_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let task = starting(&world, id(7), When::In(secs(60))).await;
    reschedule(&world, task, When::In(secs(5))).await;
    let again = world.enqueue(vec![world.envelope_of(task)]).await;
    assert_eq!(again, [lovage_core::Enqueued::Duplicate]);
    let cancelled = world.broker.cancel(&world.queue, task).await.unwrap();
    assert_eq!(cancelled, Cancelled::Removed);
    let answer = reschedule(&world, task, When::In(secs(1))).await;
    assert_eq!(answer, Rescheduled::NotScheduled);
}

pub async fn an_earlier_time_ends_a_workers_wait(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker: WorkerId = world.worker().await;
    in_a_minute(&world).await;
    let id = starting(&world, TaskId::random(), When::In(secs(600))).await;
    for span in [secs(30), ms(0)] {
        // A ring that is left from what came before ends this round, not the wait below.
        while tokio::time::timeout(ms(50), world.broker.wait(&world.queue, LONG))
            .await
            .is_ok()
        {}
        assert_eq!(world.claim_ids(worker, 1).await, []);
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let wait = tokio::spawn(async move { broker.wait(&queue, LONG).await });
        settle_down().await;
        reschedule(&world, id, When::In(span)).await;
        soon("the wake-up", wait).await.unwrap().unwrap();
    }
    assert_eq!(world.claim_ids(worker, 1).await, [id]);
}
