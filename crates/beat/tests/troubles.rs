//! What stands in the way of one schedule, or of one queue, does not stand in the way of the others.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where its stage cannot be set"
)]

mod stage;

use bytes::Bytes;
use lovage_beat::{Fate, Misfire, Overlap, Reason, Schedule};
use lovage_core::{
    Amended, Amendment, Change, Control, Inspect, OUTBOX_MAX, Schedules, hours, ms, secs,
};
use stage::{Stage, entry, entry_to, eventually, name, queue};

fn every(seconds: u64) -> Schedule {
    Schedule::every(secs(seconds))
        .unwrap()
        .misfire(Misfire::All)
}

#[tokio::test]
async fn a_full_queue_holds_up_no_other_and_gets_its_tasks_later() {
    let stage = Stage::new();
    stage.broker.bound(&queue("full"), Some(3)).await.unwrap();
    stage.add(entry_to("a", every(1), "full")).await;
    stage.add(entry_to("b", every(1), "free")).await;
    let beat = stage.beat().await;
    for _ in 0..10 {
        stage.advance(secs(1));
        eventually("both to be fired", || {
            beat.stats().caught_up >= Some(stage.now())
        })
        .await;
    }
    eventually("what fits to be forwarded", || beat.stats().forwarded == 13).await;
    assert_eq!(stage.taken("free").await.len(), 10);
    assert_eq!(stage.broker.counts(&queue("full")).await.unwrap().ready, 3);
    stage.broker.bound(&queue("full"), None).await.unwrap();
    eventually("the rest to be forwarded", || beat.stats().forwarded == 20).await;
    assert_eq!(stage.taken("full").await.len(), 10);
}

#[tokio::test]
async fn a_schedule_whose_outbox_is_full_waits_and_goes_on() {
    let stage = Stage::new();
    stage.broker.bound(&queue("full"), Some(0)).await.unwrap();
    stage.add(entry_to("a", every(1), "full")).await;
    let beat = stage.beat().await;
    stage.settle(&beat).await;
    let more = u64::try_from(OUTBOX_MAX).unwrap() + 50;
    stage.advance(secs(more));
    eventually("the outbox to be full", || {
        beat.stats().fired == u64::try_from(OUTBOX_MAX).unwrap()
    })
    .await;
    // It does not spin meanwhile: the wake is moved on.
    stage.broker.bound(&queue("full"), None).await.unwrap();
    eventually("the rest to be fired", || {
        stage.advance(ms(1));
        more <= beat.stats().fired
    })
    .await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_nobody() {
    let stage = Stage::new();
    stage.add(entry("good", every(1))).await;
    let bad = Amendment {
        name: name("bad"),
        expected: None,
        change: Change::Store {
            record: Bytes::from_static(b"\xc1 no record"),
            wake: Some(stage.now()),
        },
        sends: Vec::new(),
        firings: Vec::new(),
    };
    let answer = stage.broker.amend(None, vec![bad]).await.unwrap();
    assert!(matches!(answer[0], Amended::Done(_)));
    let beat = stage.beat().await;
    for _ in 0..5 {
        stage.advance(secs(1));
        stage.settle(&beat).await;
    }
    assert_eq!(beat.stats().fired, 5);
    assert_eq!(beat.stats().unreadable, 1);
    let standing = stage.timetable.list(None, 10).await.unwrap().found;
    assert!(standing[0].record.is_err() && standing[1].record.is_ok());
    assert!(standing[0].wake > Some(stage.now()));
    assert!(stage.timetable.delete(&name("bad")).await.unwrap());
}

#[tokio::test]
async fn a_run_that_lives_is_not_joined_by_another() {
    let stage = Stage::new();
    stage
        .add(entry("skips", every(10).overlap(Overlap::Skip)))
        .await;
    stage
        .add(entry_to(
            "queues",
            every(10).overlap(Overlap::Queue),
            "other",
        ))
        .await;
    let beat = stage.beat().await;
    for _ in 0..4 {
        stage.advance(secs(10));
        stage.settle(&beat).await;
    }
    // Both first runs wait for a worker: they live.
    assert_eq!(beat.stats().fired, 2);
    let live = stage.claimed("mail").await;
    assert_eq!(live.len(), 1);
    stage.advance(secs(10));
    stage.settle(&beat).await;
    let firings = stage.timetable.firings(&name("skips"), 10).await.unwrap();
    let reason = Reason::Overlapped { live: live[0].0 };
    assert_eq!(firings[0].fate, Fate::Skipped(reason));
    assert_eq!(firings.len(), 5);
    stage.finish("mail", live).await;
    assert_eq!(stage.taken("other").await.len(), 1);
    // One that waits is fired within five seconds, another at its next occurrence.
    stage.advance(secs(5));
    stage.settle(&beat).await;
    assert_eq!(stage.taken("other").await.len(), 1);
    assert_eq!(stage.taken("mail").await.len(), 0);
    stage.advance(secs(5));
    stage.settle(&beat).await;
    assert_eq!(stage.taken("mail").await.len(), 1);
}

#[tokio::test]
async fn a_run_that_is_still_in_the_outbox_lives() {
    let stage = Stage::new();
    stage.broker.bound(&queue("mail"), Some(0)).await.unwrap();
    stage
        .add(entry("skips", every(10).overlap(Overlap::Skip)))
        .await;
    let beat = stage.beat().await;
    for _ in 0..3 {
        stage.advance(secs(10));
        eventually("the round to end", || {
            beat.stats().caught_up >= Some(stage.now())
        })
        .await;
    }
    assert_eq!((beat.stats().fired, beat.stats().skipped), (1, 2));
}

#[tokio::test]
async fn changes_of_clients_and_firings_do_not_lose_each_other() {
    let stage = Stage::new();
    stage.add(entry("tick", every(1))).await;
    let beat = stage.beat().await;
    stage.settle(&beat).await;
    let mut by_hand = Vec::new();
    for _ in 0..50 {
        stage.advance(secs(1));
        by_hand.push(stage.timetable.run_now(&name("tick")).await.unwrap());
        stage.settle(&beat).await;
    }
    eventually("all to be forwarded", || beat.stats().forwarded == 100).await;
    let taken = stage.taken("mail").await;
    assert_eq!(taken.len(), 100);
    assert!(by_hand.iter().all(|id| taken.contains(id)));
    stage.timetable.pause(&name("tick")).await.unwrap();
    stage.advance(hours(1));
    stage.settle(&beat).await;
    assert_eq!(beat.stats().fired, 50);
    assert!(stage.timetable.resume(&name("tick")).await.unwrap());
    stage.advance(secs(1));
    stage.settle(&beat).await;
    assert_eq!(beat.stats().fired, 51);
}

#[tokio::test]
async fn a_run_by_hand_does_not_hide_one_that_goes_on() {
    let stage = Stage::new();
    let schedule = every(10).overlap(Overlap::Skip);
    stage.add(entry("skips", schedule)).await;
    let beat = stage.beat().await;
    stage.advance(secs(10));
    stage.settle(&beat).await;
    let goes_on = stage.claimed("mail").await;
    assert_eq!(goes_on.len(), 1);
    // Two runs by hand begin and end meanwhile.
    for _ in 0..2 {
        stage.timetable.run_now(&name("skips")).await.unwrap();
    }
    eventually("both to be forwarded", || beat.stats().forwarded == 3).await;
    assert_eq!(stage.taken("mail").await.len(), 2);
    stage.advance(secs(10));
    stage.settle(&beat).await;
    assert_eq!((beat.stats().fired, beat.stats().skipped), (1, 1));
    stage.finish("mail", goes_on).await;
    stage.advance(secs(10));
    stage.settle(&beat).await;
    assert_eq!((beat.stats().fired, beat.stats().skipped), (2, 1));
    let standing = stage.timetable.get(&name("skips")).await.unwrap();
    let record = standing.found.unwrap().record.unwrap();
    assert_eq!(record.state.earlier, []);
}
