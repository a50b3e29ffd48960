//! What holds when workers are lost.

use lovage_core::{
    Ack, Broker, Control, Cut, Envelope, FailureKind, Inspect, LOSSES_MAX, Membership, Place,
    Recovered, Renewal, TaskId, Verdict, hours, ms, secs,
};

use crate::world::{almost, done, ids_of};
use crate::{Harness, LEASE, PATIENCE, World};

const NOTHING: Recovered = Recovered {
    released: 0,
    buried: 0,
    cut: NO_CUT,
    losses: Vec::new(),
    more: false,
    callbacks: false,
};
const NO_CUT: Cut = Cut {
    by_count: 0,
    by_age: 0,
    by_bytes: 0,
    oldest: Vec::new(),
};

fn released(count: u64) -> Recovered {
    Recovered {
        released: count,
        ..NOTHING
    }
}

pub async fn a_task_of_a_lost_worker_is_claimed_again(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(1).await;
    let first = world.claim_one(lost).await;
    assert_eq!(world.lose_all_workers().await, released(1));
    let other = world.worker().await;
    let second = world.claim_one(other).await;
    assert_eq!((second.id, second.losses), (first.id, 1));
    assert_eq!(second.bytes, first.bytes);
}

pub async fn a_live_lease_is_never_taken_from(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    world.claim_one(worker).await;
    for _ in 0..4 {
        world.advance(almost(LEASE));
        assert_eq!(world.recover().await, NOTHING);
        world
            .broker
            .renew(worker, &world.queue, LEASE)
            .await
            .unwrap();
    }
    assert_eq!(world.state(sent[0]).await, Place::Active);
}

pub async fn one_look_takes_nothing_however_late(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    world.claim_one(worker).await;
    world.advance(LEASE * 100);
    assert_eq!(world.recover().await, NOTHING);
    assert_eq!(world.state(sent[0]).await, Place::Active);
}

pub async fn looks_less_than_the_patience_apart_take_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    world.claim_one(worker).await;
    world.advance(LEASE);
    for _ in 0..5 {
        // Several processes look; what counts is the span since the first look.
        assert_eq!(world.recover().await, NOTHING);
        world.advance(PATIENCE / 5);
    }
    assert_eq!(world.recover().await, released(1));
}

/// Redis was away for longer than the leases; every worker lives and renews as soon as it answers again.
pub async fn a_stall_of_the_broker_evicts_nobody(harness: impl Harness) {
    let world = World::start(harness).await;
    let workers = [
        world.worker().await,
        world.worker().await,
        world.worker().await,
    ];
    world.send(3).await;
    let mut held = Vec::new();
    for worker in workers {
        held.push(world.claim_one(worker).await);
    }
    world.advance(LEASE * 4);
    assert_eq!(world.recover().await, NOTHING);
    for worker in workers {
        let renewal = world.broker.renew(worker, &world.queue, LEASE).await;
        assert_eq!(renewal.unwrap(), Renewal::Held { cancelled: vec![] });
    }
    world.advance(PATIENCE);
    assert_eq!(world.recover().await, NOTHING);
    for (worker, delivery) in workers.into_iter().zip(&held) {
        world.settle_one(worker, delivery, done(None)).await;
    }
}

/// A worker that is slow for the second time is suspected anew: the looks must have found the same lease ended.
pub async fn a_renewal_between_the_looks_starts_them_over(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    world.claim_one(worker).await;
    world.advance(LEASE);
    assert_eq!(world.recover().await, NOTHING);
    world
        .broker
        .renew(worker, &world.queue, LEASE)
        .await
        .unwrap();
    world.advance(LEASE + PATIENCE);
    assert_eq!(world.recover().await, NOTHING);
    world.advance(almost(PATIENCE));
    assert_eq!(world.recover().await, NOTHING);
    world.advance(ms(1));
    assert_eq!(world.recover().await, released(1));
}

pub async fn recovered_tasks_come_first_in_the_order_of_their_claims(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    let sent = world.send(5).await;
    let first = world.claim(lost, 1).await;
    let second = world.claim(lost, 2).await;
    // Given back and claimed again, it comes behind what was claimed in between.
    world.settle(lost, &first, Verdict::Release).await;
    world.claim(lost, 1).await;
    let mut between = ids_of(&second);
    between.sort_unstable();
    assert_eq!(world.lose_all_workers().await, released(3));
    let other = world.worker().await;
    let expected = [&between[..], &[sent[0]], &sent[3..]].concat();
    assert_eq!(world.claim_ids(other, 9).await, expected);
}

/// Guarantee 5.
pub async fn a_poison_task_is_buried_after_three_losses(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.send(1).await;
    for losses in 0..LOSSES_MAX {
        let worker = world.worker().await;
        assert_eq!(world.claim_one(worker).await.losses, losses);
        let recovered = world.lose_all_workers().await;
        let last = losses + 1 == LOSSES_MAX;
        let buried = u64::from(last);
        assert_eq!((recovered.released, recovered.buried), (1 - buried, buried));
    }
    assert_eq!(world.state(sent[0]).await, Place::Dead);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters[0].failure.kind, FailureKind::Lost);
}

pub async fn losses_and_attempts_are_counted_apart(harness: impl Harness) {
    let world = World::start(harness).await;
    world.send(1).await;
    for expected in 0..2 {
        let worker = world.worker().await;
        let delivery = world.claim_one(worker).await;
        let envelope = Envelope::decode(&delivery.bytes).unwrap();
        assert_eq!(
            (u32::from(envelope.attempts), delivery.losses),
            (expected, expected)
        );
        let later = Verdict::RetryIn(ms(1));
        world.settle_one(worker, &delivery, later).await;
        world.advance(ms(1));
        world.claim_one(worker).await;
        world.lose_all_workers().await;
    }
}

/// It may have run in part, so it is kept for somebody to look at.
pub async fn an_at_most_once_task_never_starts_twice(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let once = Envelope {
        ack: Ack::Early,
        ..world.envelope()
    };
    let id = world.send_one(once).await;
    world.claim_one(worker).await;
    let expected = Recovered {
        buried: 1,
        ..NOTHING
    };
    assert_eq!(world.lose_all_workers().await, expected);
    assert_eq!(world.state(id).await, Place::Dead);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters[0].failure.kind, FailureKind::Abandoned);
}

pub async fn a_cancelled_task_of_a_lost_worker_is_gone(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    world.claim_one(worker).await;
    world.broker.cancel(&world.queue, sent[0]).await.unwrap();
    assert_eq!(world.lose_all_workers().await, NOTHING);
    assert_eq!(world.state(sent[0]).await, Place::Gone);
}

pub async fn every_lost_worker_is_taken_from(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut sent = world.send(6).await;
    for _ in 0..3 {
        let worker = world.worker().await;
        world.claim(worker, 2).await;
    }
    assert_eq!(world.lose_all_workers().await, released(6));
    let other = world.worker().await;
    let mut claimed = world.claim_ids(other, 9).await;
    claimed.sort_unstable();
    sent.sort_unstable();
    assert_eq!(claimed, sent);
}

/// By an operator, a time server or a failover. Nobody knows how much of the lease was left, so it is counted anew.
pub async fn a_clock_that_was_set_back_strands_no_lost_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(1).await;
    world.claim_one(lost).await;
    world.set_back(hours(1));
    assert_eq!(world.recover().await, NOTHING);
    world.advance(almost(LEASE));
    assert_eq!(world.recover().await, NOTHING);
    world.advance(PATIENCE);
    assert_eq!(world.recover().await, NOTHING, "the first look");
    world.advance(PATIENCE);
    assert_eq!(world.recover().await, released(1));
}

pub async fn a_clock_that_was_set_back_between_the_looks_starts_them_over(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(1).await;
    world.claim_one(lost).await;
    world.advance(hours(2));
    assert_eq!(world.recover().await, NOTHING);
    world.set_back(hours(1));
    assert_eq!(world.recover().await, NOTHING);
    world.advance(almost(PATIENCE));
    assert_eq!(world.recover().await, NOTHING);
    world.advance(ms(1));
    assert_eq!(world.recover().await, released(1));
}

/// There are more of them than one call looks at.
pub async fn a_clock_that_was_set_back_keeps_no_worker_from_its_turn(harness: impl Harness) {
    const WORKERS: u64 = 100;
    let world = World::start(harness).await;
    for _ in 0..WORKERS {
        let worker = world.worker().await;
        world.send(1).await;
        world.claim_one(worker).await;
    }
    let each_is_looked_at =
        async || world.recover().await.released + world.recover().await.released;
    assert_eq!(each_is_looked_at().await, 0);
    world.set_back(hours(1));
    assert_eq!(each_is_looked_at().await, 0);
    world.advance(LEASE);
    assert_eq!(each_is_looked_at().await, 0);
    world.advance(PATIENCE);
    assert_eq!(each_is_looked_at().await, WORKERS);
}

/// A script of unbounded work would stop everybody. Between the calls the identity is dead already: nothing may join
/// what is being taken, but a verdict on what is still there is as good as ever.
pub async fn a_large_recovery_takes_several_calls(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(451).await;
    let held = world.claim(lost, 450).await;
    world.advance(LEASE);
    assert_eq!(world.recover().await, NOTHING);
    world.advance(PATIENCE);

    let first = world.recover().await;
    assert!(first.more);
    assert!((1..450).contains(&first.released), "{first:?}");
    let renewal = world.broker.renew(lost, &world.queue, LEASE).await;
    assert_eq!(renewal.unwrap(), Renewal::Lost);
    let again = world.broker.register(lost, &world.queue, LEASE).await;
    assert!(again.is_err(), "a dead identity cannot come back");
    assert_eq!(world.try_claim(lost, 1).await, lovage_core::Claim::NoLease);
    let remaining: Vec<TaskId> = world
        .broker
        .holdings(lost, &world.queue)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let late = held.iter().find(|d| remaining.contains(&d.id)).unwrap();
    world.settle_one(lost, late, done(None)).await;

    let mut total = first.released;
    loop {
        let next = world.recover().await;
        total += next.released;
        if !next.more {
            break;
        }
    }
    assert_eq!(total, 449);
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!((counts.ready, counts.active), (450, 0));
}

pub async fn recovery_of_an_empty_queue_does_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(world.recover().await, NOTHING);
    world.worker().await;
    assert_eq!(world.recover().await, NOTHING);
}

pub async fn concurrent_recoveries_count_each_loss_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(20).await;
    world.claim(lost, 20).await;
    world.advance(LEASE);
    world.recover().await;
    world.advance(PATIENCE + secs(1));
    let mut looks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (broker, queue) = (world.broker.separate().await.unwrap(), world.queue.clone());
        looks.spawn(async move { broker.recover(&queue, PATIENCE).await.unwrap().released });
    }
    assert_eq!(looks.join_all().await.iter().sum::<u64>(), 20);
    let other = world.worker().await;
    for delivery in world.claim(other, 20).await {
        assert_eq!(delivery.losses, 1);
    }
}
