//! What holds for tasks that wait for their time.

use lovage_core::{Envelope, Inspect, Millis, Place, TaskId, Verdict, When, ms, secs};

use crate::world::{almost, id};
use crate::{Harness, LEASE, World};

fn starting<H: Harness>(world: &World<H>, when: When) -> Envelope {
    Envelope {
        start: Some(when),
        ..world.envelope()
    }
}

/// Guarantee 9.
pub async fn nothing_starts_before_its_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let due = world.now().plus(secs(10));
    for when in [When::In(secs(10)), When::At(due)] {
        world.send_one(starting(&world, when)).await;
    }
    world.advance(almost(secs(10)));
    assert_eq!(world.claim_ids(worker, 9).await, []);
    world.advance(ms(1));
    assert_eq!(world.claim(worker, 9).await.len(), 2);
}

/// The sender's clock has no part in it: the broker counts the span from the moment it has the task.
pub async fn a_countdown_begins_when_the_task_is_accepted(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let accepted = world.now();
    let envelope = Envelope {
        expires: Some(When::In(secs(30))),
        ..starting(&world, When::In(secs(10)))
    };
    world.send_one(envelope).await;
    world.advance(secs(12));
    let stored = Envelope::decode(&world.claim_one(worker).await.bytes).unwrap();
    assert_eq!(stored.start, Some(When::At(accepted.plus(secs(10)))));
    assert_eq!(stored.expires, Some(When::At(accepted.plus(secs(30)))));
}

pub async fn a_start_that_has_passed_is_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut sent = Vec::new();
    for when in [
        When::At(Millis::new(0)),
        When::At(world.now()),
        When::In(ms(0)),
    ] {
        let id = world.send_one(starting(&world, when)).await;
        assert_eq!(world.state(id).await, Place::Ready);
        sent.push(id);
    }
    assert_eq!(world.claim_ids(worker, 9).await, sent);
}

pub async fn due_tasks_are_claimed_in_the_order_of_their_times(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for (n, span) in [(4, 2), (3, 1), (1, 3), (2, 1)] {
        let envelope = Envelope {
            start: Some(When::In(secs(span))),
            ..world.envelope_of(id(n))
        };
        world.send_one(envelope).await;
    }
    world.advance(secs(3));
    // Those of one instant by their ids, as a sorted set has them.
    assert_eq!(
        world.claim_ids(worker, 9).await,
        [id(2), id(3), id(4), id(1)]
    );
}

pub async fn due_tasks_come_behind_what_is_ready(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let due = world.send_one(starting(&world, When::In(secs(1)))).await;
    world.advance(secs(2));
    let ready = world.send(1).await[0];
    assert_eq!(world.claim_ids(worker, 9).await, [ready, due]);
}

/// More than one claim promotes; none is forgotten.
pub async fn three_thousand_tasks_due_at_once_are_all_claimed(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        let envelopes = (0..1000).map(|_| starting(&world, When::In(secs(1))));
        sent.extend(world.send_all(envelopes.collect()).await);
    }
    world.advance(secs(1));
    let mut claimed = Vec::new();
    for _ in 0..20 {
        let batch = world.batch(worker, 200).await;
        if claimed.len() + batch.deliveries.len() < sent.len() {
            assert!(!batch.deliveries.is_empty(), "due tasks must not be hidden");
        }
        claimed.extend(batch.deliveries.iter().map(|delivery| delivery.id));
    }
    sent.sort_unstable();
    claimed.sort_unstable();
    assert_eq!(claimed, sent);
}

pub async fn what_is_due_beyond_one_claims_work_is_due_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..2 {
        let envelopes = (0..600).map(|_| starting(&world, When::In(secs(1))));
        world.send_all(envelopes.collect()).await;
    }
    world.advance(secs(2));
    let batch = world.batch(worker, 1).await;
    assert_eq!(batch.deliveries.len(), 1);
    assert_eq!(batch.next_due, Some(ms(0)));
}

pub async fn a_start_in_a_far_century_waits_and_harms_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let year_9999 = Millis::new(253_402_300_799_000);
    let mut far: Vec<TaskId> = Vec::new();
    for when in [
        When::At(year_9999),
        When::At(Millis::MAX),
        When::In(std::time::Duration::MAX),
    ] {
        let id = world.send_one(starting(&world, when)).await;
        assert_eq!(world.state(id).await, Place::Scheduled);
        far.push(id);
    }
    let near = world.send(1).await;
    let batch = world.batch(worker, 9).await;
    assert_eq!(batch.deliveries[0].id, near[0]);
    assert_eq!(batch.next_due, Some(year_9999.since(world.now())));
    assert_eq!(
        world.broker.counts(&world.queue).await.unwrap().scheduled,
        3
    );
}

pub async fn a_retry_may_wait_for_longer_than_a_lease(harness: impl Harness) {
    let world = World::start(harness).await;
    let first = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(first).await;
    let later = Verdict::RetryIn(LEASE * 3);
    world.settle_one(first, &delivery, later).await;
    world.lose_all_workers().await;
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 1).await, []);
    world.advance((LEASE * 2).saturating_sub(crate::PATIENCE));
    let worker = world.worker().await;
    let again = world.claim_one(worker).await;
    assert_eq!((again.id, again.losses), (delivery.id, 0));
}
