//! What a leader reads in one look.

use lovage_core::{BeatId, Millis, Tick, ms, secs};

use crate::world::{names_of, queue, removing, storing};
use crate::{Harness, World};

pub async fn a_leader_of_nothing_reads_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let tick = world.hold(BeatId::random()).await;
    let expected = Tick {
        epoch: tick.epoch,
        now: world.now(),
        due: vec![],
        next_wake: None,
        outboxes: vec![],
    };
    assert_eq!(tick, expected);
}

pub async fn a_schedule_is_due_at_its_wake_and_not_before(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.store("daily", Some(world.now().plus(ms(700)))).await;
    world.advance(ms(699));
    let tick = world.hold(beat).await;
    assert_eq!((tick.due, tick.next_wake), (vec![], Some(ms(1))));
    world.advance(ms(1));
    let tick = world.hold(beat).await;
    assert_eq!(tick.due, [world.schedule("daily").await.unwrap()]);
    assert_eq!((tick.now, tick.next_wake), (world.now(), None));
}

pub async fn due_schedules_come_earliest_first_and_no_more_than_asked_for(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    for (name, span) in [("c", 3), ("a", 4), ("d", 1), ("b", 2), ("later", 60)] {
        world.store(name, Some(world.now().plus(secs(span)))).await;
    }
    world.advance(secs(10));
    for (max, expected) in [
        (1, &["d"][..]),
        (3, &["d", "b", "c"]),
        (9, &["d", "b", "c", "a"]),
    ] {
        let tick = world.look(beat, max).await;
        assert_eq!(names_of(&tick.due), expected, "at most {max}");
    }
}

pub async fn schedules_that_are_due_at_once_come_by_name(harness: impl Harness) {
    let world = World::start(harness).await;
    for name in ["b", "a.2", "c", "a"] {
        world.store(name, Some(world.now())).await;
    }
    let tick = world.hold(BeatId::random()).await;
    assert_eq!(names_of(&tick.due), ["a", "a.2", "b", "c"]);
}

/// Looking settles nothing: what is due stays so until its schedule is changed.
pub async fn a_look_changes_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.store("daily", Some(world.now())).await;
    world.put_out("sender", 2).await;
    let tick = world.hold(beat).await;
    assert_eq!(world.hold(beat).await, tick);
    let later = world.now().plus(secs(1));
    world.store("daily", Some(later)).await;
    assert_eq!(world.hold(beat).await.due, []);
}

pub async fn the_next_wake_is_told(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    for (name, span) in [("a", 0), ("b", 0), ("c", 60), ("d", 90)] {
        world.store(name, Some(world.now().plus(secs(span)))).await;
    }
    // Beyond what one look brings there is more at once.
    assert_eq!(world.look(beat, 1).await.next_wake, Some(ms(0)));
    assert_eq!(world.look(beat, 2).await.next_wake, Some(secs(60)));
    world.advance(secs(70));
    assert_eq!(world.look(beat, 2).await.next_wake, Some(ms(0)));
    assert_eq!(world.look(beat, 9).await.next_wake, Some(secs(20)));
    world.advance(secs(20));
    assert_eq!(world.look(beat, 9).await.next_wake, None);
}

pub async fn a_schedule_without_a_wake_is_never_due(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.store("paused", None).await;
    world.store("ended", Some(world.now())).await;
    world.store("ended", None).await;
    world.advance(secs(86_400));
    let tick = world.hold(beat).await;
    assert_eq!((tick.due, tick.next_wake), (vec![], None));
}

pub async fn a_removed_schedule_is_never_due(harness: impl Harness) {
    let world = World::start(harness).await;
    let version = world.store("once", Some(world.now())).await;
    world.made(removing("once", Some(version))).await;
    let tick = world.hold(BeatId::random()).await;
    assert_eq!((tick.due, tick.next_wake), (vec![], None));
}

pub async fn a_wake_in_a_far_century_waits_and_harms_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    world.store("far", Some(Millis::MAX)).await;
    let tick = world.hold(beat).await;
    assert_eq!(tick.next_wake, Some(Millis::MAX.since(world.now())));
    assert_eq!(world.schedule("far").await.unwrap().wake, Some(Millis::MAX));
    world.store("near", Some(Millis::new(0))).await;
    assert_eq!(names_of(&world.hold(beat).await.due), ["near"]);
}

pub async fn queues_with_something_to_forward_are_named(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    let mut sends = world.sends(3);
    sends[2].0 = queue("reports");
    let amendment = lovage_core::Amendment {
        sends,
        ..storing("sender", None, None)
    };
    world.made(amendment).await;
    let mut outboxes = world.hold(beat).await.outboxes;
    outboxes.sort_unstable();
    assert_eq!(outboxes, [queue("mail"), queue("reports")]);

    let waiting = world.outbox().await;
    assert!(world.forwarded(waiting[0].number).await);
    assert_eq!(world.hold(beat).await.outboxes.len(), 2);
    assert!(!world.forwarded(waiting[1].number).await);
    assert_eq!(world.hold(beat).await.outboxes, [queue("reports")]);
}

/// As many as one call brings, all due: none is hidden behind the others.
pub async fn a_thousand_due_schedules_are_read_in_one_look(harness: impl Harness) {
    let world = World::start(harness).await;
    let now = world.now();
    let amendments = |tens: std::ops::Range<usize>| {
        let names = tens.map(|n| format!("schedule-{n:04}"));
        names.map(|name| storing(&name, None, Some(now))).collect()
    };
    world.amend(None, amendments(0..1000)).await;
    world.amend(None, amendments(1000..1010)).await;
    let tick = world.look(BeatId::random(), 1000).await;
    let expected: Vec<String> = (0..1000).map(|n| format!("schedule-{n:04}")).collect();
    assert_eq!(names_of(&tick.due), expected);
    assert_eq!(tick.next_wake, Some(ms(0)));
}
