//! What holds for the order between priorities.

use lovage_core::{Envelope, TaskId, Verdict, When, secs};

use crate::world::ids_of;
use crate::{Harness, World};

pub async fn higher_priorities_are_claimed_first_on_all_ten_levels(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut expected: Vec<(u8, TaskId)> = Vec::new();
    for level in [3, 9, 0, 5, 1, 8, 2, 7, 6, 4, 9, 0, 5] {
        let id = world.send_one(world.prioritised(level)).await;
        expected.push((level, id));
    }
    // Stable: the oldest first within a level.
    expected.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let expected: Vec<TaskId> = expected.into_iter().map(|(_, id)| id).collect();
    // In pieces that end amid a level.
    let mut claimed = Vec::new();
    for max in [1, 3, 4, 100] {
        claimed.extend(world.claim_ids(worker, max).await);
    }
    assert_eq!(claimed, expected);
}

pub async fn a_higher_priority_overtakes_what_waits_already(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let low = world.send(2).await;
    let high = world.send_one(world.prioritised(6)).await;
    assert_eq!(world.claim_ids(worker, 9).await, [high, low[0], low[1]]);
}

pub async fn a_task_keeps_its_priority_whatever_becomes_of_it(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    let mut tasks = Vec::new();
    for level in [9, 7, 1] {
        tasks.push(world.send_one(world.prioritised(level)).await);
    }
    world.claim(lost, 3).await;
    world.lose_all_workers().await;
    let worker = world.worker().await;
    let plain = world.send(1).await[0];
    let expected = [tasks[0], tasks[1], plain, tasks[2]];
    for verdict in [Verdict::Release, Verdict::RetryIn(secs(1))] {
        let held = world.claim(worker, 9).await;
        assert_eq!(ids_of(&held), expected);
        world.settle(worker, &held, verdict).await;
        world.advance(secs(1));
    }
    assert_eq!(world.claim_ids(worker, 9).await, expected);
}

pub async fn a_due_task_overtakes_lower_priorities_only(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let later = Envelope {
        start: Some(When::In(secs(1))),
        ..world.prioritised(6)
    };
    let due = world.send_one(later).await;
    let low = world.send(1).await[0];
    let same = world.send_one(world.prioritised(6)).await;
    let high = world.send_one(world.prioritised(7)).await;
    world.advance(secs(1));
    assert_eq!(world.claim_ids(worker, 9).await, [high, same, due, low]);
}
