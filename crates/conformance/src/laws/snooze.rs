//! What holds when bodies ask to run again later.

use lovage_core::{
    Ack, Control, Envelope, FailureKind, Fence, Inspect, Outcome, Place, Revived, Settlement,
    Verdict, When, secs,
};

use crate::world::bury;
use crate::{Harness, World};

const LATER: Verdict = Verdict::Snooze(secs(5));

pub async fn snoozing_counts_no_attempt(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    for snoozes in 0..3 {
        let delivery = world.claim_one(worker).await;
        let envelope = Envelope::decode(&delivery.bytes).unwrap();
        assert_eq!((envelope.attempts, delivery.snoozes), (0, snoozes));
        world.settle_one(worker, &delivery, LATER).await;
        assert_eq!(world.state(delivery.id).await, Place::Scheduled);
        world.advance(secs(4));
        assert_eq!(world.claim_ids(worker, 1).await, []);
        world.advance(secs(1));
    }
}

pub async fn attempts_losses_parks_and_snoozes_are_counted_apart(harness: impl Harness) {
    let world = World::start(harness).await;
    world.send(1).await;
    for round in 1..3u16 {
        let worker = world.worker().await;
        let soon = secs(1);
        for verdict in [
            Verdict::Snooze(soon),
            Verdict::Park(soon),
            Verdict::RetryIn(soon),
        ] {
            let delivery = world.claim_one(worker).await;
            world.settle_one(worker, &delivery, verdict).await;
            world.advance(soon);
        }
        world.claim_one(worker).await;
        world.lose_all_workers().await;
        let worker = world.worker().await;
        let delivery = world.claim_one(worker).await;
        let envelope = Envelope::decode(&delivery.bytes).unwrap();
        let parks = delivery.parked.map_or(0, |parked| parked.times);
        let (round, counted) = (u32::from(round), u32::from(envelope.attempts));
        assert_eq!(
            [counted, delivery.losses, parks, delivery.snoozes],
            [round; 4]
        );
        world.settle_one(worker, &delivery, Verdict::Release).await;
    }
}

pub async fn a_snoozed_task_wakes_an_idle_worker_in_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, LATER).await;
    assert_eq!(world.batch(worker, 1).await.next_due, Some(secs(5)));
}

/// Whoever cancelled it wants no further run of it.
pub async fn a_cancelled_task_does_not_snooze(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world
        .broker
        .cancel(&world.queue, delivery.id)
        .await
        .unwrap();
    world.settle_one(worker, &delivery, LATER).await;
    assert_eq!(world.state(delivery.id).await, Place::Gone);
    assert_eq!(world.outcome(delivery.id).await, Some(Outcome::Cancelled));
}

/// It waits for its time like a retry; the worker that claims it then finds it expired.
pub async fn a_snooze_may_lead_past_the_expiry(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let expires = world.now().plus(secs(2));
    let short_lived = Envelope {
        expires: Some(When::At(expires)),
        ..world.envelope()
    };
    let id = world.send_one(short_lived).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, LATER).await;
    assert_eq!(world.state(id).await, Place::Scheduled);
    world.advance(secs(5));
    let batch = world.batch(worker, 1).await;
    let envelope = Envelope::decode(&batch.deliveries[0].bytes).unwrap();
    assert_eq!(envelope.expires, Some(When::At(expires)));
    assert!(expires <= batch.now);
}

/// Its body asked for it. What nobody asked for does not start it again.
pub async fn an_at_most_once_task_may_be_snoozed(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let once = Envelope {
        ack: Ack::Early,
        ..world.envelope()
    };
    let id = world.send_one(once).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, LATER).await;
    world.advance(secs(5));
    assert_eq!(world.claim_one(worker).await.id, id);
    world.lose_all_workers().await;
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters[0].failure.kind, FailureKind::Abandoned);
}

pub async fn a_late_snooze_changes_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let fence = Fence {
        number: delivery.fence.number - 1,
        ..delivery.fence
    };
    let (id, verdict) = (delivery.id, LATER);
    let late = Settlement { id, fence, verdict };
    assert_eq!(world.settle_each(worker, vec![late]).await.stale, [id]);
    assert_eq!(world.state(id).await, Place::Active);
}

pub async fn a_revived_task_has_no_snoozes(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, LATER).await;
    world.advance(secs(5));
    let delivery = world.claim_one(worker).await;
    assert_eq!(delivery.snoozes, 1);
    world.settle_one(worker, &delivery, bury("broken")).await;
    let revived = world.broker.revive(&world.queue, delivery.id).await;
    assert_eq!(revived.unwrap(), Revived::Ready);
    assert_eq!(world.claim_one(worker).await.snoozes, 0);
}
