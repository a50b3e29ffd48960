//! What holds when somebody looks.

use lovage_core::{Control, Counts, Envelope, Inspect, Millis, Place, TaskId, Verdict, When, secs};

use crate::world::{bury, id};
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

pub async fn scheduled_tasks_come_earliest_first_in_pages(harness: impl Harness) {
    let world = World::start(harness).await;
    let now = world.now();
    for (n, span) in [(4, 2), (3, 1), (1, 3), (2, 1)] {
        let later = Envelope {
            start: Some(When::In(secs(span))),
            ..world.envelope_of(id(n))
        };
        world.send_one(later).await;
    }
    // Those of one instant by their ids.
    let expected = [(2, 1), (3, 1), (4, 2), (1, 3)].map(|(n, s)| (id(n), now.plus(secs(s))));
    for (offset, limit) in [(0, 2), (2, 2), (3, 2), (4, 2), (0, 0), (1, 100)] {
        let found = scheduled(&world, offset, limit).await;
        let page = expected.iter().skip(offset).take(limit);
        let page: Vec<_> = page.copied().collect();
        assert_eq!(found, page, "offset {offset}, limit {limit}");
    }
    let listed = world.broker.scheduled(&world.queue, 0, 1).await.unwrap();
    let envelope = Envelope::decode(&listed[0].bytes).unwrap();
    assert_eq!(
        (envelope.id, envelope.start),
        (id(2), Some(When::At(now.plus(secs(1)))))
    );
}

/// A retry waits for its time as well; what is ready, active or dead does not.
pub async fn waiting_retries_are_among_the_scheduled_tasks(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(4).await;
    let held = world.claim(worker, 3).await;
    world
        .settle(worker, &held[..1], Verdict::RetryIn(secs(9)))
        .await;
    world.settle(worker, &held[1..2], bury("broken")).await;
    let due = world.now().plus(secs(9));
    assert_eq!(scheduled(&world, 0, 9).await, [(held[0].id, due)]);
    world.advance(secs(9));
    assert_eq!(world.claim(worker, 9).await.len(), 2);
    assert_eq!(scheduled(&world, 0, 9).await, []);
}

pub async fn a_rescheduled_task_is_listed_with_its_present_time(harness: impl Harness) {
    let world = World::start(harness).await;
    for n in [1, 2] {
        let later = Envelope {
            start: Some(When::In(secs(n.into()))),
            ..world.envelope_of(id(n))
        };
        world.send_one(later).await;
    }
    let moved = When::In(secs(3));
    let broker = &world.broker;
    broker.reschedule(&world.queue, id(1), moved).await.unwrap();
    let now = world.now();
    let expected = [(id(2), now.plus(secs(2))), (id(1), now.plus(secs(3)))];
    assert_eq!(scheduled(&world, 0, 9).await, expected);
}

async fn scheduled<H: Harness>(
    world: &World<H>,
    offset: usize,
    limit: usize,
) -> Vec<(TaskId, Millis)> {
    let listed = world.broker.scheduled(&world.queue, offset, limit).await;
    let listed = listed.unwrap().into_iter();
    listed.map(|task| (task.id, task.due)).collect()
}
