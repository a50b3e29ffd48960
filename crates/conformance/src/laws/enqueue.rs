//! What holds when tasks are sent.

use lovage_core::{BATCH_MAX, Broker, Control, EnqueueError, Enqueued, Inspect, Place, Priority};

use crate::world::{bury, done, encode, id, payload, queue};
use crate::{Harness, World};

pub async fn an_accepted_task_is_ready(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.send(3).await;
    for id in sent {
        assert_eq!(world.state(id).await, Place::Ready);
    }
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 3);
}

pub async fn answers_come_in_the_order_of_the_tasks(harness: impl Harness) {
    let world = World::start(harness).await;
    world.send_one(world.envelope_of(id(2))).await;
    let batch = [1, 2, 3, 1].map(|n| world.envelope_of(id(n))).to_vec();
    assert_eq!(
        world.enqueue(batch).await,
        [
            Enqueued::New,
            Enqueued::Duplicate,
            Enqueued::New,
            Enqueued::Duplicate
        ]
    );
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [id(2), id(1), id(3)]);
}

pub async fn resending_the_same_id_is_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;
    for _ in 0..3 {
        let again = world.enqueue(vec![envelope.clone()]).await;
        assert_eq!(again, [Enqueued::Duplicate]);
    }
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [envelope.id]);
}

pub async fn resending_is_a_duplicate_wherever_the_task_is(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;

    let active = world.claim_one(worker).await;
    assert_eq!(
        world.enqueue(vec![envelope.clone()]).await,
        [Enqueued::Duplicate]
    );

    let later = lovage_core::Verdict::RetryIn(lovage_core::secs(1));
    world.settle_one(worker, &active, later).await;
    assert_eq!(
        world.enqueue(vec![envelope.clone()]).await,
        [Enqueued::Duplicate]
    );

    world.advance(lovage_core::secs(1));
    let active = world.claim_one(worker).await;
    world.settle_one(worker, &active, bury("broken")).await;
    assert_eq!(
        world.enqueue(vec![envelope.clone()]).await,
        [Enqueued::Duplicate]
    );
    assert_eq!(world.state(envelope.id).await, Place::Dead);
}

pub async fn a_duplicate_changes_nothing_of_the_stored_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let first = world.envelope();
    world.send_one(first.clone()).await;
    let mut other = first.clone();
    other.args = payload(b"\x01");
    other.priority = Priority::MAX;
    world.enqueue(vec![other]).await;
    let stored = world.claim_one(worker).await.bytes;
    assert_eq!(&stored, first.encode().unwrap().bytes());
}

pub async fn a_gone_id_is_free_again(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelope = world.envelope();
    for _ in 0..2 {
        world.send_one(envelope.clone()).await;
        let delivery = world.claim_one(worker).await;
        world.settle_one(worker, &delivery, done(None)).await;
        assert_eq!(world.state(envelope.id).await, Place::Gone);
    }
}

pub async fn concurrent_sends_of_one_id_are_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelope = world.envelope();
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let tasks = encode(std::slice::from_ref(&envelope));
        sends.spawn(async move { broker.enqueue(&queue, tasks).await.unwrap()[0] });
    }
    let answers = sends.join_all().await;
    let new = answers.iter().filter(|answer| **answer == Enqueued::New);
    assert_eq!(new.count(), 1, "{answers:?}");
}

pub async fn an_empty_batch_is_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(world.enqueue(Vec::new()).await, []);
}

pub async fn a_full_batch_is_accepted_in_its_order(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(BATCH_MAX).await;
    let max = u16::try_from(BATCH_MAX).unwrap();
    assert_eq!(world.claim_ids(worker, max).await, sent);
}

pub async fn one_task_more_than_a_batch_is_refused_whole(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelopes: Vec<_> = (0..=BATCH_MAX).map(|_| world.envelope()).collect();
    let refused = world
        .broker
        .enqueue(&world.queue, encode(&envelopes))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, EnqueueError::BatchTooLarge { count } if count == BATCH_MAX + 1),
        "{refused:?}"
    );
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 0);
}

pub async fn a_full_queue_refuses_the_whole_batch(harness: impl Harness) {
    let world = World::start(harness).await;
    world.bound(Some(5)).await;
    world.send(3).await;
    let three = encode(&[world.envelope(), world.envelope(), world.envelope()]);
    let refused = world.broker.enqueue(&world.queue, three).await.unwrap_err();
    assert!(
        matches!(&refused, EnqueueError::QueueFull { queue, len: 3, bound: 5 } if *queue == world.queue),
        "{refused:?}"
    );
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 3);
    world.send(2).await;
}

pub async fn tasks_count_towards_the_bound_wherever_they_are(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.bound(Some(3)).await;
    world.send(3).await;
    let held = world.claim(worker, 2).await;
    world.settle(worker, &held[..1], bury("broken")).await;
    // One is dead, one is active, one is ready.
    let one = encode(&[world.envelope()]);
    let refused = world.broker.enqueue(&world.queue, one).await.unwrap_err();
    assert!(
        matches!(refused, EnqueueError::QueueFull { len: 3, .. }),
        "{refused:?}"
    );
    world.settle(worker, &held[1..], done(None)).await;
    world.send(1).await;
}

pub async fn resending_to_a_full_queue_is_a_duplicate(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelopes = vec![world.envelope(), world.envelope()];
    world.send_all(envelopes.clone()).await;
    // The sender of an accepted task must learn so, even where the bound was lowered since.
    for bound in [2, 1] {
        world.bound(Some(bound)).await;
        let answers = world.enqueue(envelopes.clone()).await;
        assert_eq!(answers, [Enqueued::Duplicate; 2]);
    }
}

pub async fn a_bound_can_be_taken_away(harness: impl Harness) {
    let world = World::start(harness).await;
    world.bound(Some(0)).await;
    let one = encode(&[world.envelope()]);
    assert!(world.broker.enqueue(&world.queue, one).await.is_err());
    world.bound(None).await;
    world.send(1).await;
}

pub async fn queues_do_not_see_each_other(harness: impl Harness) {
    let world = World::start(harness).await;
    let other = queue("reports");
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;
    let elsewhere = world.broker.enqueue(&other, encode(&[envelope])).await;
    assert_eq!(elsewhere.unwrap(), [Enqueued::New]);
    world.broker.bound(&other, Some(1)).await.unwrap();
    world.send(1).await;
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 2);
    assert_eq!(world.broker.counts(&other).await.unwrap().ready, 1);
}
