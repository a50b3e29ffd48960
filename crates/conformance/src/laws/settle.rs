//! What holds when workers give their verdicts.

use lovage_core::{
    BATCH_MAX, Envelope, Failure, FailureKind, Fence, Inspect, Outcome, Parked, Place, Settlement,
    TaskId, Verdict, WorkerId, ms, secs,
};

use crate::world::{bury, done, ids_of};
use crate::{Harness, LEASE, World};

pub async fn a_done_task_is_gone(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(world.state(delivery.id).await, Place::Gone);
    assert_eq!(
        world.broker.counts(&world.queue).await.unwrap(),
        lovage_core::Counts::default()
    );
}

pub async fn a_retry_waits_its_span_and_counts_an_attempt(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    for attempts in 0..3 {
        let delivery = world.claim_one(worker).await;
        let envelope = Envelope::decode(&delivery.bytes).unwrap();
        assert_eq!(envelope.attempts, attempts);
        let later = Verdict::RetryIn(secs(1));
        world.settle_one(worker, &delivery, later).await;
        assert_eq!(world.state(delivery.id).await, Place::Scheduled);
        assert_eq!(world.claim_ids(worker, 1).await, []);
        world.advance(secs(1));
    }
}

pub async fn a_released_task_comes_first_and_counts_no_attempt(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(2).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, Verdict::Release).await;
    let again = world.claim(worker, 2).await;
    assert_eq!(ids_of(&again), sent);
    assert_eq!(again[0].bytes, delivery.bytes);
    assert_eq!(again[0].losses, 0);
}

pub async fn released_tasks_keep_the_order_they_are_given_in(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(4).await;
    let mut held = world.claim(worker, 3).await;
    held.swap(0, 2);
    world.settle(worker, &held, Verdict::Release).await;
    assert_eq!(
        world.claim_ids(worker, 9).await,
        [sent[2], sent[1], sent[0], sent[3]]
    );
}

pub async fn a_parked_task_remembers_since_when_and_how_often(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let since = world.now();
    for times in 1..=3 {
        let delivery = world.claim_one(worker).await;
        let later = Verdict::Park(secs(1));
        world.settle_one(worker, &delivery, later).await;
        assert_eq!(world.state(delivery.id).await, Place::Scheduled);
        world.advance(secs(1));
        let delivery = world.claim_one(worker).await;
        assert_eq!(delivery.parked, Some(Parked { since, times }));
        assert_eq!(Envelope::decode(&delivery.bytes).unwrap().attempts, 0);
        world.settle_one(worker, &delivery, Verdict::Release).await;
    }
}

pub async fn a_buried_task_is_kept_with_its_reason(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let mut failure = Failure {
        causes: vec!["no such user".into()],
        ..Failure::new(FailureKind::Panic, "boom")
    };
    let run = failure.run_mut();
    (run.attempt, run.ran) = (Some(3), Some(ms(250)));
    (run.host, run.backtrace) = (Some("worker-7".into()), Some("0: main".repeat(1000)));
    let verdict = Verdict::Bury(failure.clone());
    world.settle_one(worker, &delivery, verdict).await;
    assert_eq!(world.state(delivery.id).await, Place::Dead);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].id, delivery.id);
    assert_eq!(letters[0].died_at, world.now());
    assert_eq!(letters[0].failure, failure);
    failure.run = None;
    let told = Some(Outcome::Failed(failure));
    assert_eq!(world.outcome(delivery.id).await, told);
    assert_eq!(letters[0].bytes, delivery.bytes);
}

/// Guarantee 4. The late answer of a paused worker arrives after its task was given to another.
pub async fn a_stale_worker_cannot_settle(harness: impl Harness) {
    let world = World::start(harness).await;
    let paused = world.worker().await;
    world.send(1).await;
    let late = world.claim_one(paused).await;
    world.lose_all_workers().await;
    let other = world.worker().await;
    let current = world.claim_one(other).await;

    for verdict in [
        done(Some(secs(60))),
        Verdict::RetryIn(secs(1)),
        Verdict::Park(secs(1)),
        Verdict::Release,
        bury("too late"),
    ] {
        let settled = world
            .settle(paused, std::slice::from_ref(&late), verdict)
            .await;
        assert_eq!(settled.stale, [late.id]);
        assert_eq!(world.state(late.id).await, Place::Active);
    }
    assert_eq!(world.outcome(late.id).await, None);
    world.settle_one(other, &current, done(None)).await;
}

/// A release that was sent on a dropped connection is executed after the task was claimed again by the same worker.
pub async fn a_fence_of_an_earlier_claim_is_stale(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let first = world.claim_one(worker).await;
    world.settle_one(worker, &first, Verdict::Release).await;
    let second = world.claim_one(worker).await;
    let settled = world
        .settle(worker, std::slice::from_ref(&first), Verdict::Release)
        .await;
    assert_eq!(
        (settled.stale, world.holds(worker).await),
        (vec![first.id], 1)
    );
    world.settle_one(worker, &second, done(None)).await;
}

/// After a failover took the counter back, a number alone could come twice.
pub async fn a_fence_with_another_instant_is_stale(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let mut delivery = world.claim_one(worker).await;
    delivery.fence = Fence {
        claimed_at: delivery.fence.claimed_at.plus(secs(1)),
        ..delivery.fence
    };
    let settled = world
        .settle(worker, std::slice::from_ref(&delivery), done(None))
        .await;
    assert_eq!(settled.stale, [delivery.id]);
    assert_eq!(world.state(delivery.id).await, Place::Active);
}

pub async fn another_workers_task_cannot_be_settled(harness: impl Harness) {
    let world = World::start(harness).await;
    let (holder, other) = (world.worker().await, world.worker().await);
    world.send(1).await;
    let delivery = world.claim_one(holder).await;
    for stranger in [other, WorkerId::random()] {
        let settled = world
            .settle(stranger, std::slice::from_ref(&delivery), done(None))
            .await;
        assert_eq!(
            (settled.stale, world.holds(stranger).await),
            (vec![delivery.id], 0)
        );
    }
    world.settle_one(holder, &delivery, done(None)).await;
}

pub async fn a_second_verdict_on_one_delivery_is_stale(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(2).await;
    let held = world.claim(worker, 2).await;
    // Once in a later call, once in the same call; the first verdict stands.
    world.settle_one(worker, &held[0], bury("broken")).await;
    let settled = world.settle(worker, &held[..1], done(None)).await;
    assert_eq!(settled.stale, [held[0].id]);
    let verdicts = [Verdict::Release, done(None)];
    let both = verdicts.map(|verdict| Settlement {
        id: held[1].id,
        fence: held[1].fence,
        verdict,
    });
    let settled = world.settle_each(worker, both.to_vec()).await;
    assert_eq!(
        (settled.stale, world.holds(worker).await),
        (vec![held[1].id], 0)
    );
    assert_eq!(world.state(held[0].id).await, Place::Dead);
    assert_eq!(world.state(held[1].id).await, Place::Ready);
}

pub async fn a_stale_verdict_does_not_hinder_the_others_of_its_call(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(3).await;
    let mut held = world.claim(worker, 3).await;
    let unknown = TaskId::random();
    held[1].id = unknown;
    let settled = world.settle(worker, &held, done(None)).await;
    assert_eq!(
        (settled.stale, world.holds(worker).await),
        (vec![unknown], 1)
    );
    assert_eq!(world.state(held[0].id).await, Place::Gone);
    assert_eq!(world.state(held[2].id).await, Place::Gone);
}

pub async fn each_task_of_a_call_gets_its_own_verdict(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(5).await;
    let held = world.claim(worker, 5).await;
    let verdicts = [
        done(None),
        Verdict::RetryIn(secs(1)),
        Verdict::Park(secs(1)),
        Verdict::Release,
        bury("broken"),
    ];
    let settlements = held
        .iter()
        .zip(verdicts)
        .map(|(delivery, verdict)| Settlement {
            id: delivery.id,
            fence: delivery.fence,
            verdict,
        });
    let settled = world.settle_each(worker, settlements.collect()).await;
    assert_eq!((settled.stale, world.holds(worker).await), (vec![], 0));
    for (delivery, place) in held.iter().zip([
        Place::Gone,
        Place::Scheduled,
        Place::Scheduled,
        Place::Ready,
        Place::Dead,
    ]) {
        assert_eq!(world.state(delivery.id).await, place);
    }
}

/// The lease says who may take the task, not whose verdict counts: nobody else has seen it yet.
pub async fn a_verdict_past_the_lease_counts_until_recovery(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.advance(LEASE * 2);
    world.recover().await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(world.state(delivery.id).await, Place::Gone);
}

pub async fn a_full_batch_is_settled_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(BATCH_MAX).await;
    world.send(1).await;
    let max = u16::try_from(BATCH_MAX).unwrap();
    let held = world.claim(worker, max).await;
    let last = world.claim_one(worker).await;
    let settled = world.settle(worker, &held, done(None)).await;
    assert_eq!((settled.stale, world.holds(worker).await), (vec![], 1));
    world.settle_one(worker, &last, done(None)).await;
}

pub async fn settling_nothing_leaves_everything_held(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(3).await;
    world.claim(worker, 2).await;
    let settled = world.settle_each(worker, Vec::new()).await;
    assert_eq!((settled.stale, world.holds(worker).await), (vec![], 2));
}
