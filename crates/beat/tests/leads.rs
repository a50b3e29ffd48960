//! Several beats: one leads, and whoever leads next goes on where it ended.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where its stage cannot be set"
)]

mod stage;

use lovage_beat::{Beat, Misfire, Schedule, task_id};
use lovage_core::{BeatId, Lead, Schedules, ms, secs};
use stage::{Stage, entry, eventually, name};
use std::num::NonZeroU16;

fn every_second() -> Schedule {
    let schedule = Schedule::every(secs(1)).unwrap();
    schedule.misfire(Misfire::All)
}

#[tokio::test]
async fn a_beat_that_stops_hands_the_lead_over_at_once() {
    let stage = Stage::new();
    stage.add(entry("tick", every_second())).await;
    let start = stage.now();
    let mut beats = vec![stage.beat().await];
    eventually("the first to lead", || beats[0].stats().leading.is_some()).await;
    for n in 1..=10 {
        beats.push(stage.beat().await);
        // It does not lead, as the clock stands.
        stage.advance(secs(1));
        stage.settle(&beats[0]).await;
        let leader = beats.remove(0);
        leader.shutdown().await;
        eventually("another to lead", || beats[0].stats().leading.is_some()).await;
        let epoch = beats[0].stats().leading.unwrap().epoch;
        assert_eq!(epoch, n + 1);
    }
    let expected: Vec<_> = (1..=10)
        .map(|n| task_id(&name("tick"), start.plus(secs(n))))
        .collect();
    assert_eq!(stage.taken("mail").await, expected);
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_followed_when_its_lease_ends() {
    let stage = Stage::new();
    stage.add(entry("tick", every_second())).await;
    let start = stage.now();
    // It takes the lead, and is never heard of again.
    let silent = BeatId::random();
    let lead = stage.broker.lead(silent, secs(5), NonZeroU16::MIN).await;
    assert!(matches!(lead, Ok(Lead::Held(_))));
    let beat = stage.beat().await;
    for _ in 0..4 {
        stage.advance(secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(beat.stats().fired, 0);
    stage.advance(secs(2));
    eventually("the lead to change hands", || {
        beat.stats().leading.is_some()
    })
    .await;
    stage.settle(&beat).await;
    let expected: Vec<_> = (1..=6)
        .map(|n| task_id(&name("tick"), start.plus(secs(n))))
        .collect();
    assert_eq!(stage.taken("mail").await, expected);
}

#[tokio::test]
async fn a_deposed_leader_stands_by_and_loses_nothing() {
    let stage = Stage::new();
    stage.add(entry("tick", every_second())).await;
    let start = stage.now();
    let beat = stage.beat().await;
    stage.settle(&beat).await;
    for n in 1..=20 {
        // Another one takes the lead from it in between, and gives it back.
        let other = BeatId::random();
        stage.clock.advance(secs(6));
        let lead = stage.broker.lead(other, secs(5), NonZeroU16::MIN).await;
        if let Ok(Lead::Held(_)) = lead {
            stage.broker.resign(other).await.unwrap();
        }
        stage.advance(ms(0));
        stage.settle(&beat).await;
        assert_eq!(beat.stats().fired, 6 * n);
    }
    assert!(1 < beat.stats().led);
    let expected: Vec<_> = (1..=120)
        .map(|n| task_id(&name("tick"), start.plus(secs(n))))
        .collect();
    assert_eq!(stage.taken("mail").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beats_that_come_and_go_fire_each_occurrence_once() {
    let stage = Stage::new();
    for n in 0..20 {
        let schedule = Schedule::every(ms(100 * (n % 5 + 1))).unwrap();
        let all = schedule.anchored(stage.now()).misfire(Misfire::All);
        stage.add(entry(&format!("tick-{n}"), all)).await;
    }
    let start = stage.now();
    let mut beats = Vec::new();
    for _ in 0..3 {
        let beat = Beat::builder(stage.broker.clone()).lease(ms(300));
        beats.push(beat.start().await.unwrap());
    }
    for round in 0..100 {
        stage.advance(ms(100));
        tokio::task::yield_now().await;
        if round % 5 == 0 {
            // Dropped, not shut down: whatever it is about to do.
            let beat = Beat::builder(stage.broker.clone()).lease(ms(300));
            beats.push(beat.start().await.unwrap());
            drop(beats.remove(0));
        }
    }
    let last = stage.now();
    eventually("all to be fired", || {
        stage.broker.advance(ms(0));
        let caught_up = |beat: &lovage_beat::RunningBeat| beat.stats().caught_up >= Some(last);
        beats.iter().any(caught_up)
    })
    .await;
    // What those that are gone left in the outbox is brought by the one that leads.
    let mut taken = std::collections::HashSet::new();
    let expected: usize = (0..20).map(|n| 100 / (n % 5 + 1)).sum();
    for _ in 0..10_000 {
        for id in stage.taken("mail").await {
            assert!(taken.insert(id), "{id} was fired twice");
        }
        if taken.len() == expected {
            break;
        }
        tokio::time::sleep(ms(1)).await;
    }
    assert_eq!(taken.len(), expected);
    for n in 0..20u64 {
        let period = 100 * (n % 5 + 1);
        for k in 1..=10_000 / period {
            let id = task_id(&name(&format!("tick-{n}")), start.plus(ms(k * period)));
            assert!(taken.contains(&id), "tick-{n}, {k}");
        }
    }
}
