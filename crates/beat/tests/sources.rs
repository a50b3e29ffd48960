//! Entries of code, of files and of clients side by side.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where its stage cannot be set"
)]

mod stage;

use lovage_beat::{
    Applied, Beat, Entry, Misfire, Origin, Schedule, Source, SourceError, TimetableError, Upserted,
};
use lovage_core::{BeatId, Lead, Millis, Schedules, ms, secs};
use stage::faulty::Faulty;
use stage::{Stage, entry, eventually, name};
use std::num::NonZeroU16;

fn every(seconds: u64) -> Schedule {
    Schedule::every(secs(seconds))
        .unwrap()
        .misfire(Misfire::All)
}

fn code(entries: Vec<Entry>) -> Source {
    Source {
        origin: Origin::Code("shop".into()),
        entries,
    }
}

fn file(entries: Vec<Entry>) -> Source {
    Source {
        origin: Origin::File("beat.toml".into()),
        entries,
    }
}

fn applied(added: usize, changed: usize, removed: usize, unchanged: usize) -> Applied {
    let mut applied = Applied::default();
    (applied.added, applied.changed) = (added, changed);
    (applied.removed, applied.unchanged) = (removed, unchanged);
    applied
}

async fn names(stage: &Stage) -> Vec<String> {
    let listed = stage.timetable.list(None, 100).await.unwrap();
    listed.found.iter().map(|s| s.name.to_string()).collect()
}

#[tokio::test]
async fn what_a_source_names_no_more_is_removed_and_nothing_else() {
    let stage = Stage::new();
    let table = &stage.timetable;
    stage.add(entry("run-time", every(1))).await;
    let first = code(vec![entry("a", every(1)), entry("b", every(2))]);
    assert_eq!(table.apply(&first).await.unwrap(), applied(2, 0, 0, 0));
    let other = file(vec![entry("c", every(3))]);
    assert_eq!(table.apply(&other).await.unwrap(), applied(1, 0, 0, 0));
    let versions = stage.broker.schedules(None, 100).await.unwrap().found;
    assert_eq!(table.apply(&first).await.unwrap(), applied(0, 0, 0, 2));
    let again = stage.broker.schedules(None, 100).await.unwrap().found;
    assert_eq!(versions, again, "what stands is not written again");
    let second = code(vec![entry("b", every(20)), entry("d", every(4))]);
    assert_eq!(table.apply(&second).await.unwrap(), applied(1, 1, 1, 0));
    assert_eq!(names(&stage).await, ["b", "c", "d", "run-time"]);
    assert_eq!(
        table.apply(&code(vec![])).await.unwrap(),
        applied(0, 0, 2, 0)
    );
    assert_eq!(names(&stage).await, ["c", "run-time"]);
}

#[tokio::test]
async fn a_source_that_cannot_be_changes_nothing() {
    let stage = Stage::new();
    let table = &stage.timetable;
    table
        .apply(&file(vec![entry("c", every(3))]))
        .await
        .unwrap();
    let taken = code(vec![entry("a", every(1)), entry("c", every(1))]);
    let error = table.apply(&taken).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SourceError::Owned { .. }), "{text}");
    assert!(
        text.contains("the code of shop") && text.contains("the file beat.toml"),
        "{text}"
    );
    let twice = code(vec![entry("a", every(1)), entry("a", every(2))]);
    let error = table.apply(&twice).await.unwrap_err();
    assert!(matches!(error, SourceError::Twice { .. }), "{error}");
    assert_eq!(names(&stage).await, ["c"]);
}

#[tokio::test]
async fn a_schedule_that_ends_before_it_starts_is_refused() {
    let stage = Stage::new();
    let ends_first = every(1)
        .starting(Millis::new(2_000))
        .ending(Millis::new(1_000));
    let error = stage.timetable.upsert(entry("a", ends_first)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("before it starts at 2000 ms"), "{error}");
    assert_eq!(names(&stage).await, [""; 0]);
}

#[tokio::test]
async fn clients_pause_what_is_not_theirs_and_change_only_their_own() {
    let stage = Stage::new();
    let table = &stage.timetable;
    let source = code(vec![entry("a", every(1))]);
    table.apply(&source).await.unwrap();
    let error = table.upsert(entry("a", every(9))).await.unwrap_err();
    assert!(matches!(error, TimetableError::Owned { .. }), "{error}");
    let error = table.delete(&name("a")).await.unwrap_err();
    assert!(matches!(error, TimetableError::Owned { .. }), "{error}");
    assert!(table.pause(&name("a")).await.unwrap());
    assert!(!table.pause(&name("a")).await.unwrap());
    // It stays paused whoever applies its source.
    let changed = code(vec![entry("a", every(5))]);
    table.apply(&changed).await.unwrap();
    let standing = table.get(&name("a")).await.unwrap().found.unwrap();
    assert!(standing.record.unwrap().state.paused.is_some());
    assert_eq!(standing.wake, None);

    assert_eq!(
        table.upsert(entry("mine", every(9))).await.unwrap(),
        Upserted::Added
    );
    assert_eq!(
        table.upsert(entry("mine", every(9))).await.unwrap(),
        Upserted::Unchanged
    );
    assert_eq!(
        table.upsert(entry("mine", every(8))).await.unwrap(),
        Upserted::Changed
    );
    assert!(table.delete(&name("mine")).await.unwrap());
    assert!(!table.delete(&name("mine")).await.unwrap());
    let error = table.run_now(&name("mine")).await.unwrap_err();
    assert!(
        matches!(error, TimetableError::NoSchedule { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn beats_that_start_together_agree_on_their_source() {
    let stage = Stage::new();
    let entries = (0..300)
        .map(|n| entry(&format!("s-{n}"), every(1)))
        .collect();
    let source = code(entries);
    let mut beats = Vec::new();
    for _ in 0..4 {
        let builder = Beat::builder(stage.broker.clone()).source(source.clone());
        beats.push(builder.start().await.unwrap());
    }
    eventually("a beat to lead", || {
        beats.iter().any(|beat| beat.stats().leading.is_some())
    })
    .await;
    for beat in &beats {
        let again = beat.reload(source.clone()).await.unwrap();
        assert_eq!(again, applied(0, 0, 0, 300));
        assert_eq!(beat.stats().source_error, None);
    }
    let error = beats[0]
        .reload(file(vec![entry("s-1", every(1))]))
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Owned { .. }), "{error}");
    assert!(beats[0].stats().source_error.is_some());
    let leader = beats
        .iter()
        .find(|beat| beat.stats().leading.is_some())
        .unwrap();
    stage.advance(secs(1));
    stage.settle(leader).await;
    assert_eq!(stage.taken("mail").await.len(), 300);
}

#[tokio::test]
async fn a_source_that_applies_hides_no_other_that_does_not() {
    let stage = Stage::new();
    stage.add(entry("mine", every(1))).await;
    let taken = code(vec![entry("mine", every(1))]);
    let other = file(vec![entry("theirs", every(1))]);
    let builder = Beat::builder(stage.broker.clone()).sources([taken, other.clone()]);
    let beat = builder.start().await.unwrap();
    // Behind both that it was started with.
    beat.reload(other).await.unwrap();
    let error = beat.stats().source_error.unwrap();
    assert!(
        error.contains("the code of shop names the schedule mine"),
        "{error}"
    );

    beat.reload(code(vec![])).await.unwrap();
    assert_eq!(beat.stats().source_error, None);
}

#[tokio::test]
async fn a_run_by_hand_needs_no_beat() {
    let stage = Stage::new();
    stage.add(entry("a", every(3600))).await;
    let id = stage.timetable.run_now(&name("a")).await.unwrap();
    let other = stage.timetable.run_now(&name("a")).await.unwrap();
    assert_eq!(stage.taken("mail").await, [id, other]);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_has_lost_comes_back_when_a_beat_takes_the_lead() {
    let stage = Stage::new();
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let code_of_two = code(vec![entry("a", every(1)), entry("b", every(1))]);
    let builder = Beat::builder(faulty.clone()).source(code_of_two);
    let beat = builder
        .source(file(vec![entry("c", every(1))]))
        .start()
        .await
        .unwrap();
    eventually("the sources to apply", || {
        stage.advance(ms(10));
        3 <= beat.stats().fired
    })
    .await;
    assert_eq!(names(&stage).await, ["a", "b", "c"]);
    // It comes back without any data.
    let empty = Stage::new();
    faulty.replace(empty.broker.clone());
    let fired = beat.stats().fired;
    // Both are in their first epoch; that of a broker with a counter of instants is a later one.
    let other = BeatId::random();
    let lead = empty.broker.lead(other, secs(5), NonZeroU16::MIN).await;
    assert!(matches!(lead, Ok(Lead::Held(_))));
    empty.broker.resign(other).await.unwrap();
    for _ in 0..100 {
        empty.advance(ms(100));
        tokio::time::advance(ms(100)).await;
    }
    assert_eq!(names(&empty).await, ["a", "b", "c"]);
    assert!(fired + 3 * 5 < beat.stats().fired);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_beat_has_removed_is_not_brought_back_by_an_older_one() {
    let stage = Stage::new();
    let old = code(vec![entry("a", every(1)), entry("b", every(1))]);
    let older = Beat::builder(stage.broker.clone()).source(old);
    let older = older.start().await.unwrap();
    eventually("the older to lead", || older.stats().leading.is_some()).await;
    let new = code(vec![entry("b", every(1))]);
    let newer = Beat::builder(stage.broker.clone()).source(new.clone());
    let newer = newer.start().await.unwrap();
    newer.reload(new).await.unwrap();
    newer.shutdown().await;
    for n in 2..5 {
        // Another one leads for a moment; then the older one again.
        let other = BeatId::random();
        stage.clock.advance(secs(6));
        let lead = stage.broker.lead(other, secs(5), NonZeroU16::MIN).await;
        assert!(matches!(lead, Ok(Lead::Held(_))));
        stage.broker.resign(other).await.unwrap();
        for _ in 0..20 {
            stage.advance(ms(100));
            tokio::time::advance(ms(100)).await;
        }
        assert_eq!(older.stats().led, n);
    }
    assert_eq!(names(&stage).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_moves_from_the_file_to_the_code() {
    let stage = Stage::new();
    let table = &stage.timetable;
    let old = file(vec![entry("a", every(1)), entry("b", every(1))]);
    table.apply(&old).await.unwrap();
    let beat = Beat::builder(stage.broker.clone())
        .source(code(vec![entry("a", every(1))]))
        .source(file(vec![entry("b", every(1))]))
        .start()
        .await
        .unwrap();
    eventually("the code to be refused", || {
        beat.stats().source_error.is_some()
    })
    .await;
    // The file applies behind it, and gives the name up.
    for _ in 0..20 {
        tokio::time::advance(secs(1)).await;
    }
    assert_eq!(beat.stats().source_error, None);
    assert_eq!(names(&stage).await, ["a", "b"]);
    let owner = table.get(&name("a")).await.unwrap().found.unwrap();
    let origin = owner.record.unwrap().entry.origin;
    assert_eq!(origin, Origin::Code("shop".into()));
}
