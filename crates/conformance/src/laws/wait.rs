//! What holds when idle workers wait. A wait may always end early, so a law says only when it must have ended.

use lovage_core::{Broker, Control, Envelope, Membership, Revived, Verdict, When, ms, secs};
use tokio::task::JoinHandle;

use crate::world::{LONG, bury, ids_of, settle_down, soon};
use crate::{Harness, World};

/// A worker's idle loop: claims, and waits as long as it was told where there was nothing.
fn idle_worker<H: Harness>(world: &World<H>) -> JoinHandle<lovage_core::Delivery> {
    let (broker, queue) = (world.broker.clone(), world.queue.clone());
    tokio::spawn(async move {
        let worker = lovage_core::WorkerId::random();
        broker.register(worker, &queue, LONG).await.unwrap();
        let one = std::num::NonZeroU16::MIN;
        loop {
            match broker.claim(worker, &queue, one).await.unwrap() {
                lovage_core::Claim::NoLease => panic!("the lease is good"),
                lovage_core::Claim::Granted(mut batch) => {
                    if let Some(delivery) = batch.deliveries.pop() {
                        return delivery;
                    }
                    let at_most = batch.next_due.unwrap_or(LONG);
                    broker.wait(&queue, at_most).await.unwrap();
                }
            }
        }
    })
}

pub async fn a_wait_ends_when_told_at_the_latest(harness: impl Harness) {
    let world = World::start(harness).await;
    let wait = world.broker.wait(&world.queue, ms(30));
    soon("the end of a short wait", wait).await.unwrap();
}

pub async fn a_task_that_arrives_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = idle_worker(&world);
    settle_down().await;
    let sent = world.send(1).await;
    let delivery = soon("the claim", worker).await.unwrap();
    assert_eq!(delivery.id, sent[0]);
}

/// The task arrives between the claim that found nothing and the wait.
pub async fn a_ring_before_the_wait_is_not_missed(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 1).await, []);
    let sent = world.send(1).await;
    let wait = world.broker.wait(&world.queue, LONG);
    soon("the wake-up", wait).await.unwrap();
    assert_eq!(world.claim_ids(worker, 1).await, sent);
}

pub async fn one_batch_wakes_as_many_workers_as_it_has_tasks(harness: impl Harness) {
    let world = World::start(harness).await;
    let workers: Vec<_> = (0..4).map(|_| idle_worker(&world)).collect();
    settle_down().await;
    let mut sent = world.send(4).await;
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.push(soon("the claim of each worker", worker).await.unwrap());
    }
    let mut claimed = ids_of(&claimed);
    claimed.sort_unstable();
    sent.sort_unstable();
    assert_eq!(claimed, sent);
}

pub async fn a_released_task_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let holder = world.worker().await;
    world.send(1).await;
    let held = world.claim_one(holder).await;
    let idle = idle_worker(&world);
    settle_down().await;
    world.settle_one(holder, &held, Verdict::Release).await;
    assert_eq!(soon("the claim", idle).await.unwrap().id, held.id);
}

pub async fn a_recovered_task_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send(1).await;
    let held = world.claim_one(lost).await;
    let idle = idle_worker(&world);
    settle_down().await;
    world.lose_all_workers().await;
    assert_eq!(soon("the claim", idle).await.unwrap().losses, 1);
    assert_eq!(world.state(held.id).await, lovage_core::Place::Active);
}

pub async fn a_revived_task_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    let idle = idle_worker(&world);
    settle_down().await;
    assert_eq!(
        world.broker.revive(&world.queue, held.id).await.unwrap(),
        Revived::Ready
    );
    assert_eq!(soon("the claim", idle).await.unwrap().id, held.id);
}

/// A worker sleeps until the due time that its claim told it. One that is nearer must not find it asleep.
pub async fn a_nearer_due_time_ends_a_wait(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for span in [secs(600), secs(60)] {
        // A ring that is left from what came before ends this claim's round, not the wait below.
        assert_eq!(world.claim_ids(worker, 1).await, []);
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let wait = tokio::spawn(async move { broker.wait(&queue, LONG).await });
        settle_down().await;
        let later = Envelope {
            start: Some(When::In(span)),
            ..world.envelope()
        };
        world.send_one(later).await;
        soon("the wake-up", wait).await.unwrap().unwrap();
        assert_eq!(world.batch(worker, 1).await.next_due, Some(span));
    }
}

pub async fn a_retry_that_is_due_first_ends_a_wait(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(1).await;
    let held = world.claim_one(worker).await;
    let (broker, queue) = (world.broker.clone(), world.queue.clone());
    let wait = tokio::spawn(async move { broker.wait(&queue, LONG).await });
    settle_down().await;
    let later = Verdict::RetryIn(secs(3));
    world.settle_one(worker, &held, later).await;
    soon("the wake-up", wait).await.unwrap().unwrap();
}

/// A worker that stops drops its wait. The ring that woke it too late belongs to the others.
pub async fn a_dropped_wait_does_not_swallow_a_ring(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..20 {
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let dropped = tokio::spawn(async move { broker.wait(&queue, LONG).await });
        tokio::task::yield_now().await;
        let sent = world.send(1).await;
        dropped.abort();
        // It may have ended before it was dropped: then its owner knows of the ring, as its claim would show.
        if dropped.await.is_err() {
            let wait = world.broker.wait(&world.queue, LONG);
            soon("the wake-up of another waiter", wait).await.unwrap();
        }
        assert_eq!(world.claim_ids(worker, 1).await, sent);
    }
}

/// On the broker's own clock: nobody rings when a task becomes due, the waiter's own timer ends the wait.
pub async fn a_worker_that_waits_as_told_meets_the_due_task(harness: impl Harness) {
    let world = World::start_on_the_real_clock(harness).await;
    let idle = idle_worker(&world);
    let soon_due = Envelope {
        start: Some(When::In(ms(150))),
        ..world.envelope()
    };
    let id = world.send_one(soon_due).await;
    let delivery = soon("the claim of the due task", idle).await.unwrap();
    assert_eq!(delivery.id, id);
    let stored = Envelope::decode(&delivery.bytes).unwrap();
    assert!(
        matches!(stored.start, Some(When::At(due)) if due <= delivery.fence.claimed_at),
        "claimed at {:?}, due {:?}",
        delivery.fence.claimed_at,
        stored.start
    );
}
