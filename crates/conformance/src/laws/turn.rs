//! What holds when beats wait for their turn. A wait may always end early, so a law says only when it must have ended.

use lovage_core::{Amendment, BeatId, BeatRole, Schedules, ms, secs};

use crate::world::{LONG, removing, soon, storing};
use crate::{Harness, World};

pub async fn a_turn_comes_when_told_at_the_latest(harness: impl Harness) {
    let world = World::start(harness).await;
    for role in [BeatRole::Leader, BeatRole::Standby] {
        let turn = world.broker.await_turn(role, ms(30));
        soon("the end of a short wait", turn).await.unwrap();
    }
}

pub async fn an_earlier_wake_wakes_the_leader(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    for (name, span) in [("first", 600), ("earlier", 60), ("first", 30)] {
        world.quiet(BeatRole::Leader).await;
        world.hold(beat).await;
        let turn = world.waits_for_a_turn(BeatRole::Leader).await;
        world.store(name, Some(world.now().plus(secs(span)))).await;
        soon("the wake-up", turn).await.unwrap();
        assert_eq!(world.hold(beat).await.next_wake, Some(secs(span)));
    }
}

/// The leader has read what is due and is about to put it off. What comes sooner than its next look must not wait
/// for that.
pub async fn a_change_while_something_is_due_wakes_the_leader(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.store("due", Some(world.now())).await;
    world.store("far", Some(world.now().plus(secs(600)))).await;
    world.quiet(BeatRole::Leader).await;
    world.hold(beat).await;
    let turn = world.waits_for_a_turn(BeatRole::Leader).await;
    world.store("soon", Some(world.now().plus(secs(5)))).await;
    soon("the wake-up", turn).await.unwrap();
}

pub async fn a_schedule_that_is_due_at_once_wakes_the_leader(harness: impl Harness) {
    let world = World::start(harness).await;
    world.hold(BeatId::random()).await;
    world.quiet(BeatRole::Leader).await;
    let turn = world.waits_for_a_turn(BeatRole::Leader).await;
    world.store("now", Some(world.now())).await;
    soon("the wake-up", turn).await.unwrap();
}

pub async fn something_to_forward_wakes_the_leader(harness: impl Harness) {
    let world = World::start(harness).await;
    world.store("sender", None).await;
    for change in [0, 1] {
        world.quiet(BeatRole::Leader).await;
        let turn = world.waits_for_a_turn(BeatRole::Leader).await;
        let version = world.version("sender").await;
        let amendment = match change {
            0 => storing("sender", version, None),
            _ => removing("sender", version),
        };
        let sends = world.sends(1);
        world.made(Amendment { sends, ..amendment }).await;
        soon("the wake-up", turn).await.unwrap();
        let waiting = world.outbox().await;
        assert!(!world.forwarded(waiting[0].number).await);
    }
}

/// The change is made between the look that found nothing and the wait.
pub async fn a_turn_before_the_wait_is_not_missed(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.hold(beat).await;
    world.store("now", Some(world.now())).await;
    let turn = world.broker.await_turn(BeatRole::Leader, LONG);
    soon("the wake-up", turn).await.unwrap();

    let stands_by = BeatId::random();
    world.lead(stands_by).await;
    world.resign(beat).await;
    let turn = world.broker.await_turn(BeatRole::Standby, LONG);
    soon("the wake-up", turn).await.unwrap();
    world.hold(stands_by).await;
}

pub async fn a_resigned_lead_wakes_one_who_stands_by(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    for _ in 0..3 {
        world.hold(beat).await;
        let turn = world.waits_for_a_turn(BeatRole::Standby).await;
        world.resign(beat).await;
        soon("the wake-up", turn).await.unwrap();
    }
}

/// A beat that stops drops its wait. The ring that woke it too late belongs to the others.
pub async fn a_dropped_turn_is_passed_on(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    for _ in 0..20 {
        world.hold(beat).await;
        let broker = world.broker.clone();
        let dropped = tokio::spawn(async move { broker.await_turn(BeatRole::Standby, LONG).await });
        tokio::task::yield_now().await;
        world.resign(beat).await;
        dropped.abort();
        // It may have ended before it was dropped: then its owner knows of the ring, and would lead.
        if dropped.await.is_err() {
            let turn = world.broker.await_turn(BeatRole::Standby, LONG);
            soon("the wake-up of another one", turn).await.unwrap();
        }
    }
}

/// The roles do not take each other's rings.
pub async fn a_turn_is_for_its_role(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.hold(beat).await;
    let leader = world.waits_for_a_turn(BeatRole::Leader).await;
    let standby = world.waits_for_a_turn(BeatRole::Standby).await;
    world.resign(beat).await;
    soon("the wake-up of one that stands by", standby)
        .await
        .unwrap();
    world.store("now", Some(world.now())).await;
    soon("the wake-up of the leader", leader).await.unwrap();
}
