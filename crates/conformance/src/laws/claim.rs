//! What holds when workers take tasks.

use std::collections::HashSet;

use lovage_core::{
    BATCH_MAX, Broker, Claim, Envelope, Fence, Inspect, Membership, Place, TaskId, Verdict, When,
    WorkerId, ms, secs,
};

use crate::world::{almost, ids_of};
use crate::{Harness, LEASE, World};

pub async fn the_oldest_task_is_claimed_first(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut sent = world.send(3).await;
    sent.extend(world.send(2).await);
    assert_eq!(world.claim_ids(worker, 9).await, sent);
}

pub async fn a_claim_takes_no_more_than_it_asks_for(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(5).await;
    assert_eq!(world.claim_ids(worker, 2).await, sent[..2]);
    assert_eq!(world.claim_ids(worker, 2).await, sent[2..4]);
    assert_eq!(world.claim_ids(worker, 2).await, sent[4..]);
    assert_eq!(world.claim_ids(worker, 2).await, []);
}

pub async fn a_full_batch_is_claimed_at_once_and_no_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(BATCH_MAX).await;
    world.send(500).await;
    assert_eq!(world.claim(worker, u16::MAX).await.len(), BATCH_MAX);
    assert_eq!(world.claim(worker, u16::MAX).await.len(), 500);
}

pub async fn a_claimed_task_is_active(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    world.claim_one(worker).await;
    assert_eq!(world.state(sent[0]).await, Place::Active);
}

pub async fn a_claim_by_an_unknown_identity_is_refused_and_moves_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.send(1).await;
    let stranger = WorkerId::random();
    assert_eq!(world.try_claim(stranger, 1).await, Claim::NoLease);
    assert_eq!(world.state(sent[0]).await, Place::Ready);
    let held = world.broker.holdings(stranger, &world.queue).await;
    assert_eq!(held.unwrap(), []);
}

pub async fn a_claim_past_the_lease_is_refused_and_moves_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(2).await;
    world.advance(almost(LEASE));
    world.claim_one(worker).await;
    world.advance(ms(1));
    assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
    assert_eq!(world.state(sent[1]).await, Place::Ready);
}

pub async fn fences_grow_with_every_claim(harness: impl Harness) {
    let world = World::start(harness).await;
    let (one, other) = (world.worker().await, world.worker().await);
    world.send(4).await;
    let first = world.claim(one, 2).await;
    world.advance(secs(1));
    let second = world.claim(other, 1).await;
    let third = world.claim(one, 1).await;
    assert_eq!(first[0].fence, first[1].fence);
    assert!(first[0].fence.number < second[0].fence.number);
    assert!(second[0].fence.number < third[0].fence.number);
    assert_eq!(second[0].fence.claimed_at, world.now());
}

/// Its number has the instant in it: where a failover takes the counter back, the next one is above all that were given.
pub async fn a_fence_only_grows(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(3).await;
    let first = world.claim_one(worker).await.fence.number;
    assert_eq!(first, 1000 * world.now().get());
    assert_eq!(world.claim_one(worker).await.fence.number, first + 1);
    world.advance(ms(1));
    let later = world.claim_one(worker).await.fence.number;
    assert_eq!(later, 1000 * world.now().get());
}

pub async fn a_delivery_brings_the_envelope_that_was_sent(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut envelope = world.envelope();
    envelope.headers.insert("tenant".into(), "acme".into());
    envelope.result_ttl = Some(secs(60));
    world.send_one(envelope.clone()).await;
    let delivery = world.claim_one(worker).await;
    assert_eq!(Envelope::decode(&delivery.bytes).unwrap(), envelope);
    assert_eq!((delivery.losses, delivery.parked), (0, None));
}

pub async fn a_batch_says_how_much_the_worker_holds_and_when_it_was_claimed(harness: impl Harness) {
    let world = World::start(harness).await;
    let (worker, other) = (world.worker().await, world.worker().await);
    world.send(6).await;
    world.claim(other, 1).await;
    assert_eq!(world.batch(worker, 2).await.held, 2);
    world.advance(secs(1));
    let batch = world.batch(worker, 9).await;
    assert_eq!((batch.held, batch.now), (5, world.now()));
}

pub async fn a_batch_says_how_long_until_the_next_task_is_due(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    assert_eq!(world.batch(worker, 1).await.next_due, None);
    for span in [secs(30), secs(10)] {
        let later = Envelope {
            start: Some(When::In(span)),
            ..world.envelope()
        };
        world.send_one(later).await;
    }
    world.advance(secs(4));
    assert_eq!(world.batch(worker, 1).await.next_due, Some(secs(6)));
}

pub async fn no_task_is_held_by_two_workers(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.send(300).await;
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (broker, queue) = (world.broker.separate().await.unwrap(), world.queue.clone());
        let worker = world.worker().await;
        let max = std::num::NonZeroU16::new(7).unwrap();
        claims.spawn(async move {
            let mut ids: Vec<TaskId> = Vec::new();
            loop {
                match broker.claim(worker, &queue, max).await.unwrap() {
                    Claim::Granted(batch) if batch.deliveries.is_empty() => return ids,
                    Claim::Granted(batch) => ids.extend(ids_of(&batch.deliveries)),
                    Claim::NoLease => panic!("the lease is good"),
                }
            }
        });
    }
    let claimed: Vec<TaskId> = claims.join_all().await.concat();
    assert_eq!(claimed.len(), sent.len());
    assert_eq!(
        claimed.into_iter().collect::<HashSet<_>>(),
        sent.into_iter().collect::<HashSet<_>>()
    );
}

pub async fn a_task_claimed_again_has_a_new_fence(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let first = world.claim_one(worker).await;
    world.settle_one(worker, &first, Verdict::Release).await;
    let second = world.claim_one(worker).await;
    assert_eq!(second.id, first.id);
    assert_ne!(second.fence, first.fence);
    let held = world.broker.holdings(worker, &world.queue).await.unwrap();
    assert_eq!(held, [(second.id, second.fence)]);
    let _: Fence = second.fence;
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!((counts.ready, counts.active), (0, 1));
}
