//! What holds when schedules are changed.

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, BATCH_MAX, BeatId, BrokerError, Inspect, OUTBOX_MAX, Place, Schedules, ms,
};

use crate::world::{BEAT_LEASE, ids_out, payload, queue, removing, storing};
use crate::{Harness, World};

/// A change that does everything a change can do.
fn full<H: Harness>(world: &World<H>, name: &str, expected: Option<u64>) -> Amendment {
    Amendment {
        sends: world.sends(2),
        firings: vec![payload(b"fired")],
        ..storing(name, expected, Some(world.now()))
    }
}

/// All that a change of this schedule could have changed.
async fn all_of<H: Harness>(world: &World<H>, name: &str) -> impl PartialEq + std::fmt::Debug {
    let schedule = world.schedule(name).await;
    (schedule, world.firings(name).await, world.outbox().await)
}

pub async fn a_schedule_is_changed_only_as_it_was_read(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(
        world.amend_one(storing("daily", Some(1), None)).await,
        Amended::Conflict
    );
    let first = world.made(storing("daily", None, None)).await;
    let second = world.made(storing("daily", Some(first), None)).await;
    for expected in [None, Some(first), Some(second + 1)] {
        for amendment in [
            storing("daily", expected, None),
            removing("daily", expected),
        ] {
            assert_eq!(world.amend_one(amendment).await, Amended::Conflict);
        }
    }
    assert_eq!(world.version("daily").await, Some(second));
    world.made(removing("daily", Some(second))).await;
    assert_eq!(world.version("daily").await, None);
}

/// Who reads a schedule, and comes back after it was removed and made again, must see that it is another.
pub async fn a_version_never_comes_twice(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut versions = Vec::new();
    for _ in 0..3 {
        for name in ["a", "b"] {
            let made = world.made(storing(name, None, None)).await;
            let changed = world.made(storing(name, Some(made), None)).await;
            world.made(removing(name, Some(changed))).await;
            versions.extend([made, changed]);
        }
        world.advance(ms(1));
    }
    let count = versions.len();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), count);
}

/// No answer came, and the call is made again: what it sent is not sent twice.
pub async fn a_change_made_again_is_a_conflict(harness: impl Harness) {
    let world = World::start(harness).await;
    let amendment = full(&world, "daily", None);
    world.made(amendment.clone()).await;
    let before = all_of(&world, "daily").await;
    assert_eq!(world.amend_one(amendment).await, Amended::Conflict);
    assert_eq!(all_of(&world, "daily").await, before);
}

pub async fn a_change_of_a_leader_names_its_epoch(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    let epoch = world.hold(beat).await.epoch;
    let amendment = storing("daily", None, None);
    let answers = world.amend(Some(epoch), vec![amendment]).await;
    assert_eq!(
        answers,
        [Amended::Done(world.version("daily").await.unwrap())]
    );
}

/// The lease decides who may become leader; that another one has is what makes a change wrong.
pub async fn a_leader_changes_schedules_until_another_epoch_begins(harness: impl Harness) {
    let world = World::start(harness).await;
    let beat = BeatId::random();
    let epoch = world.hold(beat).await.epoch;
    world.advance(BEAT_LEASE * 2);
    for name in ["lapsed", "resigned"] {
        let answers = world
            .amend(Some(epoch), vec![storing(name, None, None)])
            .await;
        assert!(matches!(answers[..], [Amended::Done(_)]), "{name}");
        world.resign(beat).await;
    }
}

/// Guarantee of the epoch: a leader that was frozen and wakes changes nothing, whatever it believes.
pub async fn a_deposed_leader_changes_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let (frozen, next) = (BeatId::random(), BeatId::random());
    let version = world.store("daily", None).await;
    let epoch = world.hold(frozen).await.epoch;
    world.advance(BEAT_LEASE);
    let present = world.hold(next).await.epoch;
    let before = all_of(&world, "daily").await;
    let amendments = vec![
        full(&world, "daily", Some(version)),
        full(&world, "hourly", None),
        removing("daily", Some(version)),
    ];
    let answers = world.amend(Some(epoch), amendments.clone()).await;
    assert_eq!(answers, vec![Amended::Deposed; 3]);
    assert_eq!(all_of(&world, "daily").await, before);
    assert_eq!(world.schedule("hourly").await, None);

    // Whoever leads, and a person, make the same changes.
    let [first, second, third] = <[Amendment; 3]>::try_from(amendments).unwrap();
    let answers = world.amend(Some(present), vec![first]).await;
    assert!(matches!(answers[..], [Amended::Done(_)]), "{answers:?}");
    world.made(second).await;
    assert_eq!(world.amend_one(third).await, Amended::Conflict);
}

/// Guarantee of a firing: a schedule that went on has its task in the outbox, and one that did not has not.
pub async fn an_amendment_is_made_whole_or_not_at_all(harness: impl Harness) {
    let world = World::start(harness).await;
    let before = all_of(&world, "daily").await;
    let refused = full(&world, "daily", Some(7));
    assert_eq!(world.amend_one(refused).await, Amended::Conflict);
    assert_eq!(all_of(&world, "daily").await, before);

    let amendment = full(&world, "daily", None);
    let version = world.made(amendment.clone()).await;
    let stored = world.schedule("daily").await.unwrap();
    assert_eq!((stored.version, stored.wake), (version, Some(world.now())));
    assert_eq!(world.firings("daily").await, amendment.firings);
    let sent: Vec<_> = amendment.sends.iter().map(|(_, task)| task.id()).collect();
    assert_eq!(ids_out(&world.outbox().await), sent);
}

pub async fn one_conflict_does_not_hinder_the_others(harness: impl Harness) {
    let world = World::start(harness).await;
    let amendments = vec![
        full(&world, "a", None),
        full(&world, "b", Some(1)),
        full(&world, "c", None),
    ];
    let answers = world.amend(None, amendments).await;
    assert!(
        matches!(
            answers[..],
            [Amended::Done(_), Amended::Conflict, Amended::Done(_)]
        ),
        "{answers:?}"
    );
    for (name, exists) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(world.schedule(name).await.is_some(), exists, "{name}");
    }
    assert_eq!(world.outbox().await.len(), 4);
}

pub async fn amendments_are_made_in_their_order(harness: impl Harness) {
    let world = World::start(harness).await;
    let version = world.store("a", None).await;
    let amendments = vec![
        removing("a", Some(version)),
        storing("a", None, Some(world.now())),
        storing("a", None, None),
    ];
    let answers = world.amend(None, amendments).await;
    assert!(
        matches!(
            answers[..],
            [Amended::Done(_), Amended::Done(_), Amended::Conflict]
        ),
        "{answers:?}"
    );
    let stored = world.schedule("a").await.unwrap();
    assert_eq!(stored.wake, Some(world.now()));
}

pub async fn no_amendments_are_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(world.amend(None, vec![]).await, []);
}

pub async fn more_amendments_than_a_batch_are_refused_whole(harness: impl Harness) {
    let world = World::start(harness).await;
    let names = (0..=BATCH_MAX).map(|n| format!("schedule-{n}"));
    let mut amendments: Vec<_> = names.map(|name| storing(&name, None, None)).collect();
    let answer = world.broker.amend(None, amendments.clone()).await;
    assert!(matches!(answer, Err(BrokerError::Refused(_))), "{answer:?}");
    assert_eq!(world.schedule("schedule-0").await, None);
    amendments.pop();
    let answers = world.amend(None, amendments).await;
    let done = answers
        .iter()
        .filter(|answer| matches!(answer, Amended::Done(_)));
    assert_eq!(done.count(), BATCH_MAX);
}

/// In all amendments of a call together.
pub async fn more_tasks_than_a_batch_are_refused_whole(harness: impl Harness) {
    let world = World::start(harness).await;
    let sending = |name: &str, count| Amendment {
        sends: world.sends(count),
        ..storing(name, None, None)
    };
    let mut amendments = vec![sending("a", BATCH_MAX), sending("b", 1)];
    let answer = world.broker.amend(None, amendments.clone()).await;
    assert!(matches!(answer, Err(BrokerError::Refused(_))), "{answer:?}");
    assert_eq!(world.schedule("a").await, None);
    assert_eq!(world.outbox().await, []);
    amendments.pop();
    world.amend(None, amendments).await;
    assert_eq!(world.outbox().await.len(), BATCH_MAX);
}

/// A queue without workers must not stop the schedules of the others, nor fill the broker.
pub async fn a_full_outbox_refuses_only_its_own_queue(harness: impl Harness) {
    let world = World::start(harness).await;
    for _ in 0..OUTBOX_MAX / BATCH_MAX - 1 {
        world.put_out("sender", BATCH_MAX).await;
    }
    world.put_out("sender", BATCH_MAX - 1).await;
    let before = all_of(&world, "daily").await;

    // There is room for one, not for two; and not for one beside what goes elsewhere.
    let mut mixed = full(&world, "daily", None);
    mixed.sends.extend(world.sends(1));
    mixed.sends[0].0 = queue("reports");
    let mut elsewhere = full(&world, "hourly", None);
    for (to, _) in &mut elsewhere.sends {
        *to = queue("reports");
    }
    let amendments = vec![full(&world, "daily", None), mixed, elsewhere];
    let answers = world.amend(None, amendments).await;
    let refused = || Amended::OutboxFull(world.queue.clone());
    assert_eq!(answers[..2], [refused(), refused()]);
    assert!(matches!(answers[2], Amended::Done(_)), "{answers:?}");
    assert_eq!(all_of(&world, "daily").await, before);
    assert_eq!(world.outbox_of(&queue("reports"), 9).await.len(), 2);

    world.put_out("sender", 1).await;
    let one = Amendment {
        sends: world.sends(1),
        ..storing("daily", None, None)
    };
    assert_eq!(world.amend_one(one.clone()).await, refused());
    // What sends nothing is not hindered, and a place that becomes free is used.
    world.store("other", None).await;
    let first = world.outbox().await[0].number;
    assert!(world.forwarded(first).await);
    world.made(one).await;
}

pub async fn a_removed_schedule_loses_its_history_and_its_tasks_go_on(harness: impl Harness) {
    let world = World::start(harness).await;
    let amendment = full(&world, "daily", None);
    let version = world.made(amendment).await;
    let waiting = world.outbox().await;
    world.made(removing("daily", Some(version))).await;
    assert_eq!(world.schedule("daily").await, None);
    assert_eq!(world.firings("daily").await, Vec::<Bytes>::new());
    assert_eq!(world.outbox().await, waiting);
    assert_eq!(world.forward(&waiting).await.stored, 2);

    // One of the same name begins without a past.
    world.store("daily", None).await;
    assert_eq!(world.firings("daily").await, Vec::<Bytes>::new());
}

pub async fn a_schedule_may_be_removed_with_its_last_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let version = world.store("once", Some(world.now())).await;
    let last = Amendment {
        sends: world.sends(1),
        firings: vec![payload(b"fired")],
        ..removing("once", Some(version))
    };
    world.made(last).await;
    assert_eq!(world.schedule("once").await, None);
    assert_eq!(world.firings("once").await, Vec::<Bytes>::new());
    assert_eq!(world.outbox().await.len(), 1);
}

pub async fn an_amendment_touches_no_queue(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 1).await;
    assert_eq!(world.state(sent[0]).await, Place::Gone);
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!(counts, lovage_core::Counts::default());
}
