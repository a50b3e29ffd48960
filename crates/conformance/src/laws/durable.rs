//! What holds of sends that ask for a confirmation, whether or not anybody gives it.

use lovage_core::{
    BATCH_MAX, Broker, Control, Durability, Durable, EnqueueError, Enqueued, Inspect, ms,
};

use crate::world::{encode, id};
use crate::{Harness, World};

/// What a lone server cannot confirm, and what a test need not wait for.
const WANTED: Durability = Durability::replicas(1).within(ms(1));

pub async fn a_confirmed_task_is_stored_as_any_other(harness: impl Harness) {
    let world = World::start(harness).await;
    let batch = encode(&[1, 2].map(|n| world.envelope_of(id(n))));
    let sent = world
        .broker
        .enqueue_confirmed(&world.queue, batch, WANTED)
        .await
        .unwrap();
    assert_eq!(sent.answers, [Enqueued::New; 2]);
    world.send_one(world.envelope_of(id(3))).await;
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [id(1), id(2), id(3)]);
}

pub async fn nothing_is_confirmed_of_a_batch_that_is_refused(harness: impl Harness) {
    let world = World::start(harness).await;
    world.broker.bound(&world.queue, Some(1)).await.unwrap();
    let batch = encode(&[1, 2].map(|n| world.envelope_of(id(n))));
    let full = world
        .broker
        .enqueue_confirmed(&world.queue, batch, WANTED)
        .await
        .unwrap_err();
    assert!(
        matches!(
            full,
            EnqueueError::QueueFull {
                len: 0,
                bound: 1,
                ..
            }
        ),
        "{full:?}"
    );
    let batch = encode(&vec![world.envelope_of(id(1)); BATCH_MAX + 1]);
    let large = world
        .broker
        .enqueue_confirmed(&world.queue, batch, WANTED)
        .await
        .unwrap_err();
    assert!(
        matches!(large, EnqueueError::BatchTooLarge { count } if count == BATCH_MAX + 1),
        "{large:?}"
    );
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 0);
}

pub async fn a_confirmed_send_of_a_living_id_is_a_duplicate(harness: impl Harness) {
    let world = World::start(harness).await;
    let task = encode(&[world.envelope_of(id(1))]);
    let plain = world.broker.enqueue(&world.queue, task.clone()).await;
    assert_eq!(plain.unwrap(), [Enqueued::New]);
    for _ in 0..2 {
        let again = world
            .broker
            .enqueue_confirmed(&world.queue, task.clone(), WANTED)
            .await;
        assert_eq!(again.unwrap().answers, [Enqueued::Duplicate]);
    }
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 1);
}
