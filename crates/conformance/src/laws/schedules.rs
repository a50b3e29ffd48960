//! What holds when somebody looks at schedules and their history.

use bytes::Bytes;
use lovage_core::{Amendment, Change, FIRINGS_MAX, Looked, Schedules, StoredSchedule, secs};

use crate::world::{names_of, payload, schedule_name, storing};
use crate::{Harness, World};

/// A change that only remembers firings of these numbers.
fn firing(name: &str, expected: Option<u64>, numbers: std::ops::Range<usize>) -> Amendment {
    Amendment {
        firings: numbers.map(told).collect(),
        ..storing(name, expected, None)
    }
}

fn told(n: usize) -> Bytes {
    n.to_string().into()
}

pub async fn a_schedule_is_kept_as_it_was_stored(harness: impl Harness) {
    let world = World::start(harness).await;
    let wake = Some(world.now().plus(secs(60)));
    // Bytes that no text has.
    let record = payload(b"\x00\xff\r\n{}\xc3\x28");
    let change = Change::Store {
        record: record.clone(),
        wake,
    };
    let amendment = Amendment {
        change,
        ..storing("shop/daily:report@eu", None, None)
    };
    let version = world.made(amendment).await;
    let expected = StoredSchedule {
        name: schedule_name("shop/daily:report@eu"),
        version,
        wake,
        record,
    };
    let found = world.schedule("shop/daily:report@eu").await;
    assert_eq!(found, Some(expected));
}

pub async fn a_schedule_of_another_name_is_not_found(harness: impl Harness) {
    let world = World::start(harness).await;
    world.store("daily", None).await;
    for name in ["dail", "daily2", "Daily"] {
        assert_eq!(world.schedule(name).await, None, "{name}");
        assert_eq!(world.firings(name).await, Vec::<Bytes>::new());
    }
}

pub async fn looks_tell_their_instant(harness: impl Harness) {
    let world = World::start(harness).await;
    world.advance(secs(7));
    let name = schedule_name("daily");
    let now = world.now();
    let one = world.broker.schedule(&name).await.unwrap();
    assert_eq!(one, Looked { now, found: None });
    let all = world.broker.schedules(None, 9).await.unwrap();
    assert_eq!(all, Looked { now, found: vec![] });
}

pub async fn schedules_come_by_name_in_pages(harness: impl Harness) {
    let world = World::start(harness).await;
    let names = ["a", "a.b", "a/b", "ab", "b"];
    for name in ["ab", "b", "a/b", "a", "a.b"] {
        // When they are due does not matter.
        world.store(name, Some(world.now())).await;
        world.advance(secs(1));
    }
    for (after, limit, expected) in [
        (None, 2, &names[..2]),
        (Some("a.b"), 2, &names[2..4]),
        (Some("ab"), 2, &names[4..]),
        (Some("b"), 2, &[]),
        // Names that are not there, or no more.
        (Some("a.a"), 1, &names[1..2]),
        (Some("aa"), 9, &names[3..]),
        (None, 0, &[]),
        (None, 1000, &names[..]),
    ] {
        let after_name = after.map(schedule_name);
        let page = world.broker.schedules(after_name.as_ref(), limit).await;
        let found = page.unwrap().found;
        assert_eq!(names_of(&found), expected, "after {after:?}, limit {limit}");
    }
    let all = world.broker.schedules(None, 9).await.unwrap().found;
    assert_eq!(all[1], world.schedule("a.b").await.unwrap());
}

pub async fn history_is_bounded_and_newest_first(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut version = None;
    for numbers in [0..3, 3..4, 4..FIRINGS_MAX, FIRINGS_MAX..FIRINGS_MAX + 7] {
        let last = numbers.end;
        version = Some(world.made(firing("daily", version, numbers)).await);
        let kept = last.saturating_sub(FIRINGS_MAX)..last;
        let expected: Vec<Bytes> = kept.rev().map(told).collect();
        assert_eq!(world.firings("daily").await, expected, "of {last}");
    }
    // More at once than are kept.
    world.made(firing("daily", version, 200..500)).await;
    let expected: Vec<Bytes> = (400..500).rev().map(told).collect();
    assert_eq!(world.firings("daily").await, expected);
}

pub async fn of_a_history_no_more_is_answered_than_asked_for(harness: impl Harness) {
    let world = World::start(harness).await;
    world.made(firing("daily", None, 0..9)).await;
    let name = schedule_name("daily");
    for limit in [0, 1, 4] {
        let firings = world.broker.firings(&name, limit).await.unwrap();
        let expected: Vec<Bytes> = (0..9).rev().take(limit).map(told).collect();
        assert_eq!(firings, expected, "limit {limit}");
    }
}

pub async fn each_schedule_has_its_own_history(harness: impl Harness) {
    let world = World::start(harness).await;
    world.made(firing("a", None, 0..2)).await;
    world.made(firing("b", None, 5..6)).await;
    assert_eq!(world.firings("a").await, [told(1), told(0)]);
    assert_eq!(world.firings("b").await, [told(5)]);
}

pub async fn a_change_without_firings_keeps_the_history(harness: impl Harness) {
    let world = World::start(harness).await;
    world.made(firing("daily", None, 0..2)).await;
    world.store("daily", Some(world.now())).await;
    assert_eq!(world.firings("daily").await, [told(1), told(0)]);
}
