//! What holds when somebody looks.

use lovage_core::{Counts, Envelope, Inspect, Place, TaskId, When, secs};

use crate::world::bury;
use crate::{Harness, World};

pub async fn counts_tell_how_many_tasks_are_in_each_place(harness: impl Harness) {
    let world = World::start(harness).await;
    let (worker, other) = (world.worker().await, world.worker().await);
    assert_eq!(
        world.broker.counts(&world.queue).await.unwrap(),
        Counts::default()
    );
    world.send(8).await;
    for _ in 0..2 {
        let later = Envelope {
            start: Some(When::In(secs(60))),
            ..world.envelope()
        };
        world.send_one(later).await;
    }
    let held = world.claim(worker, 3).await;
    world.claim(other, 1).await;
    world.settle(worker, &held[..1], bury("broken")).await;
    let expected = Counts {
        ready: 4,
        scheduled: 2,
        active: 3,
        dead: 1,
    };
    assert_eq!(world.broker.counts(&world.queue).await.unwrap(), expected);
}

pub async fn a_task_is_in_exactly_one_place(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let later = Envelope {
        start: Some(When::In(secs(1))),
        ..world.envelope()
    };
    let id = world.send_one(later).await;
    assert_eq!(world.state(id).await, Place::Scheduled);
    world.advance(secs(1));
    // Due, but nobody has looked since.
    assert_eq!(world.state(id).await, Place::Scheduled);
    let delivery = world.claim_one(worker).await;
    assert_eq!(world.state(id).await, Place::Active);
    world.settle_one(worker, &delivery, bury("broken")).await;
    assert_eq!(world.state(id).await, Place::Dead);
    let counts = world.broker.counts(&world.queue).await.unwrap();
    let expected = Counts {
        dead: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(world.state(TaskId::random()).await, Place::Gone);
}

pub async fn dead_letters_come_oldest_first_in_pages(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(5).await;
    for delivery in world.claim(worker, 5).await {
        world.settle_one(worker, &delivery, bury("broken")).await;
        world.advance(secs(1));
    }
    for (offset, limit, expected) in [
        (0, 2, &sent[..2]),
        (2, 2, &sent[2..4]),
        (4, 2, &sent[4..]),
        (5, 2, &[]),
        (0, 0, &[]),
        (0, 100, &sent[..]),
    ] {
        let letters = world.broker.dead_letters(&world.queue, offset, limit).await;
        let ids: Vec<TaskId> = letters.unwrap().iter().map(|letter| letter.id).collect();
        assert_eq!(ids, expected, "offset {offset}, limit {limit}");
    }
}
