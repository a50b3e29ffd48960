//! What holds when somebody takes a task back, or sends a dead one again.

use lovage_core::{
    Broker, Cancelled, Control, Envelope, Inspect, Outcome, Place, Priority, Revived, TaskId,
    Verdict, When, secs,
};

use crate::world::{bury, done};
use crate::{Harness, World};

async fn cancel<H: Harness>(world: &World<H>, id: TaskId) -> Cancelled {
    world.broker.cancel(&world.queue, id).await.unwrap()
}

pub async fn a_cancelled_ready_task_is_never_claimed(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(3).await;
    assert_eq!(cancel(&world, sent[1]).await, Cancelled::Removed);
    assert_eq!(world.state(sent[1]).await, Place::Gone);
    assert_eq!(world.claim_ids(worker, 9).await, [sent[0], sent[2]]);
}

pub async fn a_cancelled_scheduled_task_is_never_claimed(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let later = Envelope {
        start: Some(When::In(secs(1))),
        ..world.envelope()
    };
    let id = world.send_one(later).await;
    assert_eq!(cancel(&world, id).await, Cancelled::Removed);
    world.advance(secs(2));
    let batch = world.batch(worker, 9).await;
    assert_eq!((batch.deliveries, batch.next_due), (vec![], None));
}

pub async fn a_cancelled_dead_letter_is_gone(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    assert_eq!(cancel(&world, sent[0]).await, Cancelled::Removed);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters, []);
    assert_eq!(
        world.broker.revive(&world.queue, sent[0]).await.unwrap(),
        Revived::NotDead
    );
}

pub async fn what_the_queue_does_not_hold_cannot_be_cancelled(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(cancel(&world, TaskId::random()).await, Cancelled::Unknown);
    let sent = world.send(1).await;
    assert_eq!(cancel(&world, sent[0]).await, Cancelled::Removed);
    assert_eq!(cancel(&world, sent[0]).await, Cancelled::Unknown);
}

/// It ran to its end before its token could stop it, and what it did is not undone.
pub async fn a_cancelled_active_task_may_still_be_done(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    for _ in 0..2 {
        assert_eq!(cancel(&world, sent[0]).await, Cancelled::Marked);
        assert_eq!(world.state(sent[0]).await, Place::Active);
    }
    let verdict = done(Some(secs(60)));
    world.settle_one(worker, &delivery, verdict).await;
    let outcome = world.outcome(sent[0]).await;
    assert!(matches!(outcome, Some(Outcome::Done(_))), "{outcome:?}");
}

pub async fn a_cancelled_active_task_does_not_run_again(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for verdict in [
        Verdict::RetryIn(secs(1)),
        Verdict::Park(secs(1)),
        Verdict::Release,
        bury("broken"),
    ] {
        let sent = world.send(1).await;
        let delivery = world.claim_one(worker).await;
        cancel(&world, sent[0]).await;
        world.settle_one(worker, &delivery, verdict).await;
        assert_eq!(world.state(sent[0]).await, Place::Gone);
        assert_eq!(world.outcome(sent[0]).await, Some(Outcome::Cancelled));
    }
}

/// The mark belongs to the task that was cancelled, not to the id.
pub async fn a_mark_ends_with_its_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelope = world.envelope();
    for verdict in [done(None), Verdict::Release] {
        world.send_one(envelope.clone()).await;
        let delivery = world.claim_one(worker).await;
        cancel(&world, envelope.id).await;
        world.settle_one(worker, &delivery, verdict).await;

        world.send_one(envelope.clone()).await;
        let delivery = world.claim_one(worker).await;
        let later = Verdict::RetryIn(secs(1));
        world.settle_one(worker, &delivery, later).await;
        assert_eq!(world.state(envelope.id).await, Place::Scheduled);
        assert_eq!(cancel(&world, envelope.id).await, Cancelled::Removed);
    }
}

/// What is left of the cancelled task in a list must neither be claimed for the new one nor hide it.
pub async fn an_id_sent_again_after_a_cancellation_is_a_new_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;
    let mut others = world.send(1).await;
    for _ in 0..3 {
        assert_eq!(cancel(&world, envelope.id).await, Cancelled::Removed);
        world.send_one(envelope.clone()).await;
    }
    others.extend([envelope.id]);
    assert_eq!(world.claim_ids(worker, 9).await, others);
    assert_eq!(world.claim_ids(worker, 9).await, []);
}

pub async fn an_id_sent_again_at_another_priority_is_a_new_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for (first, second) in [(5, 9), (5, 1)] {
        let envelope = world.prioritised(first);
        world.send_one(envelope.clone()).await;
        cancel(&world, envelope.id).await;
        let between = world.send_one(world.prioritised(first)).await;
        let again = Envelope {
            priority: Priority::new(second),
            ..envelope.clone()
        };
        world.send_one(again).await;
        let mut expected = [between, envelope.id];
        if first < second {
            expected.reverse();
        }
        assert_eq!(world.claim_ids(worker, 9).await, expected);
        assert_eq!(world.claim_ids(worker, 9).await, []);
    }
}

/// What is left of the cancelled tasks costs bounded work a claim, so a claim may come back with less than there is.
pub async fn thousands_of_cancelled_tasks_hide_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut doomed = world.send(1000).await;
    doomed.extend(world.send(1000).await);
    let kept = world.send(3).await;
    for id in doomed {
        assert_eq!(cancel(&world, id).await, Cancelled::Removed);
    }
    let mut claimed = Vec::new();
    for _ in 0..10 {
        claimed.extend(world.claim_ids(worker, 9).await);
    }
    assert_eq!(claimed, kept);
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 0);
}

pub async fn a_revived_task_starts_from_the_beginning(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.send(1).await;
    let lost = world.worker().await;
    world.claim_one(lost).await;
    world.lose_all_workers().await;
    let worker = world.worker().await;
    let delivery = world.claim_one(worker).await;
    let park = Verdict::Park(secs(1));
    world.settle_one(worker, &delivery, park).await;
    world.advance(secs(1));
    let delivery = world.claim_one(worker).await;
    let retry = Verdict::RetryIn(secs(1));
    world.settle_one(worker, &delivery, retry).await;
    world.advance(secs(1));
    let delivery = world.claim_one(worker).await;
    assert_eq!(delivery.losses, 1);
    world.settle_one(worker, &delivery, bury("broken")).await;

    assert_eq!(
        world.broker.revive(&world.queue, sent[0]).await.unwrap(),
        Revived::Ready
    );
    assert_eq!(world.state(sent[0]).await, Place::Ready);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters, []);
    let again = world.claim_one(worker).await;
    assert_eq!((again.losses, again.parked), (0, None));
    assert_eq!(Envelope::decode(&again.bytes).unwrap().attempts, 0);
}

pub async fn a_revived_task_comes_last_in_its_level(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(2).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    world.broker.revive(&world.queue, sent[0]).await.unwrap();
    assert_eq!(world.claim_ids(worker, 9).await, [sent[1], sent[0]]);
}

pub async fn only_a_dead_letter_can_be_revived(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let later = Envelope {
        start: Some(When::In(secs(9))),
        ..world.envelope()
    };
    let scheduled = world.send_one(later).await;
    let active = world.send(1).await[0];
    world.claim_one(worker).await;
    let ready = world.send(1).await[0];
    for id in [scheduled, active, ready, TaskId::random()] {
        let place = world.state(id).await;
        assert_eq!(
            world.broker.revive(&world.queue, id).await.unwrap(),
            Revived::NotDead
        );
        assert_eq!(world.state(id).await, place);
    }
    // A revival that is repeated finds nothing to do.
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    assert_eq!(
        world.broker.revive(&world.queue, ready).await.unwrap(),
        Revived::Ready
    );
    assert_eq!(
        world.broker.revive(&world.queue, ready).await.unwrap(),
        Revived::NotDead
    );
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 1);
}

/// A worker may learn of it only by its verdict, so the answer must not be an error.
pub async fn settling_a_cancelled_task_is_not_stale(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(2).await;
    let held = world.claim(worker, 2).await;
    cancel(&world, held[0].id).await;
    let settled = world.settle(worker, &held, Verdict::Release).await;
    assert_eq!((settled.stale, world.holds(worker).await), (vec![], 0));
    let one = std::num::NonZeroU16::MIN;
    let claim = world.broker.claim(worker, &world.queue, one).await.unwrap();
    assert!(
        matches!(&claim, lovage_core::Claim::Granted(batch) if batch.deliveries[0].id == held[1].id),
        "{claim:?}"
    );
}
