//! Beats whose broker loses requests and answers, refuses for a while, takes long, or breaks for one queue.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where its stage cannot be set"
)]

mod stage;

use std::collections::HashSet;
use std::time::Duration;

use lovage_beat::{Beat, Misfire, Overlap, RunningBeat, Schedule, task_id};
use lovage_core::{Control, Inspect, TaskId, ms, secs};
use stage::faulty::{Faults, Faulty};
use stage::{LIMIT, Stage, entry, entry_to, eventually, name, queue};
use tokio::time::timeout;

const SCHEDULES: u64 = 12;

fn every(span: Duration) -> Schedule {
    Schedule::every(span).unwrap().misfire(Misfire::All)
}

/// Lets time pass, for the broker and for those who wait.
async fn pass(stage: &Stage, span: Duration) {
    stage.advance(span);
    tokio::time::advance(span).await;
}

async fn start(faulty: &Faulty) -> RunningBeat {
    Beat::builder(faulty.clone()).start().await.unwrap()
}

async fn take(stage: &Stage, taken: &mut HashSet<TaskId>) {
    for id in stage.taken("mail").await {
        assert!(taken.insert(id), "{id} was fired twice");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_broker_loses_each_occurrence_becomes_one_task() {
    for seed in 0..20 {
        fastrand::seed(seed);
        let stage = Stage::new();
        let begun = stage.now();
        for n in 1..=SCHEDULES {
            let schedule = every(ms(100 * n)).anchored(begun);
            stage.add(entry(&format!("s-{n}"), schedule)).await;
        }
        let faulty = Faulty::new(stage.broker.clone(), seed);
        let mut beats = Vec::new();
        for _ in 0..3 {
            beats.push(start(&faulty).await);
        }
        let (mut taken, mut errors) = (HashSet::new(), 0);
        for step in 0..2_400u64 {
            // A minute with faults, half of one with an outage in it, and half of one without.
            faulty.set(match step {
                0..1_200 => Faults {
                    lost_requests: 10,
                    lost_answers: 20,
                    refused: 10,
                    ..Faults::default()
                },
                1_300..1_500 => Faults {
                    refused: 100,
                    ..Faults::default()
                },
                _ => Faults::default(),
            });
            pass(&stage, ms(50)).await;
            // Tasks end, so that their ids are free: one that were forwarded again would run again.
            take(&stage, &mut taken).await;
            if step % 97 == 0 && step < 1_800 {
                let gone: RunningBeat = beats.swap_remove(fastrand::usize(0..beats.len()));
                errors += gone.stats().errors;
                beats.push(start(&faulty).await);
            }
        }
        let last = stage.now().since(begun).as_millis();
        let mut expected = 0;
        for n in 1..=SCHEDULES {
            let count = u64::try_from(last).unwrap() / (100 * n);
            expected += usize::try_from(count).unwrap();
            for k in 1..=count {
                let id = task_id(&name(&format!("s-{n}")), begun.plus(ms(100 * n * k)));
                // What is due at the last instant may still be on its way.
                let at_the_end = count == k && last == u128::from(100 * n * k);
                assert!(at_the_end || taken.contains(&id), "seed {seed}: s-{n}, {k}");
            }
        }
        assert!(taken.len() <= expected, "seed {seed}");
        assert!(0 < errors, "seed {seed}: nothing went wrong");
        assert!(
            beats.iter().all(|beat| beat.stats().broker_error.is_none()),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_the_broker_refuses_for_ever_holds_up_no_other() {
    let stage = Stage::new();
    for n in 0..40 {
        stage.add(entry(&format!("good-{n}"), every(secs(1)))).await;
    }
    stage.add(entry_to("bad", every(secs(1)), "broken")).await;
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let breaks = Faults {
        broken_queue: Some(queue("broken")),
        ..Faults::default()
    };
    faulty.set(breaks);
    let beat = start(&faulty).await;
    for _ in 0..300 {
        pass(&stage, ms(100)).await;
    }
    assert!(40 * 29 <= stage.taken("mail").await.len());
    assert_eq!(beat.stats().broker_error, None);
    // Somebody mends it.
    faulty.set(Faults::default());
    for _ in 0..3_000 {
        pass(&stage, ms(100)).await;
    }
    assert!(320 <= stage.taken("broken").await.len());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_what_is_fired_is_told_of() {
    let stage = Stage::new();
    for n in 0..10 {
        stage.add(entry(&format!("s-{n}"), every(secs(1)))).await;
    }
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let breaks = Faults {
        broken_queue: Some(queue("mail")),
        ..Faults::default()
    };
    faulty.set(breaks);
    let beat = start(&faulty).await;
    for _ in 0..20 {
        pass(&stage, ms(100)).await;
    }
    let error = beat.stats().broker_error.unwrap();
    assert!(error.contains("wrong kind"), "{error}");
    assert!(beat.stats().leading.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_round_that_takes_longer_than_the_lease_gets_on_by_smaller_ones() {
    let stage = Stage::new();
    for n in 0..400 {
        let schedule = every(secs(1)).overlap(Overlap::Skip);
        stage.add(entry(&format!("s-{n:03}"), schedule)).await;
    }
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let beat = start(&faulty).await;
    pass(&stage, secs(1)).await;
    eventually("the first runs", || beat.stats().fired == 400).await;
    assert_eq!(stage.taken("mail").await.len(), 400);
    // Each look for the last run takes so long that not all of them are done within a lease.
    faulty.set(Faults {
        latency: ms(400),
        ..Faults::default()
    });
    for _ in 0..1_200 {
        pass(&stage, ms(50)).await;
    }
    let stats = beat.stats();
    assert!(1_000 < stats.fired + stats.skipped, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_behind_many_that_have_much_to_forward_gets_its_turn() {
    let stage = Stage::new();
    // They wait in their outboxes at first, and all at once.
    for n in 0..40 {
        let to = format!("busy-{n:02}");
        stage.broker.bound(&queue(&to), Some(0)).await.unwrap();
        stage.add(entry_to(&to, every(ms(100)), &to)).await;
    }
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let beat = start(&faulty).await;
    let filled = 40 * 4_000;
    stage.advance(ms(100 * 4_000));
    for _ in 0..4_000 {
        tokio::time::advance(ms(10)).await;
        if filled <= beat.stats().fired {
            break;
        }
    }
    assert_eq!(beat.stats().fired, filled);
    stage.add(entry_to("z", every(ms(500)), "z")).await;
    for n in 0..40 {
        let to = queue(&format!("busy-{n:02}"));
        stage.broker.bound(&to, None).await.unwrap();
    }
    faulty.set(Faults {
        latency: ms(100),
        ..Faults::default()
    });
    // All that forwards is off its pause then, and the broker takes a tenth of a second for each call.
    for _ in 0..20 {
        pass(&stage, ms(500)).await;
    }
    let full = stage.broker.counts(&queue("busy-39")).await.unwrap().ready;
    assert!(full < 4_000, "nothing had to wait for its turn");
    assert!(!stage.taken("z").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_waits_makes_few_calls() {
    let stage = Stage::new();
    stage.add(entry("s", every(secs(3_600)))).await;
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let _beat = start(&faulty).await;
    pass(&stage, secs(1)).await;
    let before = faulty.calls();
    for _ in 0..600 {
        pass(&stage, ms(100)).await;
    }
    // A look and a wait each third of a lease; a stage that is advanced wakes it as well.
    assert!(faulty.calls() - before <= 2 * (600 + 60));
}

#[tokio::test(start_paused = true)]
async fn schedules_that_catch_up_do_not_keep_others_from_their_time() {
    let stage = Stage::new();
    // More than a leader looks at at once, with a day to catch up with.
    for n in 0..600 {
        let to = format!("late-{}", n % 200);
        stage
            .add(entry_to(&format!("late-{n:03}"), every(ms(100)), &to))
            .await;
    }
    stage.advance(secs(1_000));
    stage.add(entry("z", every(secs(1)))).await;
    let faulty = Faulty::new(stage.broker.clone(), 1);
    let beat = start(&faulty).await;
    stage.advance(secs(1));
    let fired_at_last = async {
        while stage.taken("mail").await.is_empty() {
            // A hundred tasks of each of five hundred in each of eight looks: then a leader lets others run.
            let fired = beat.stats().fired;
            assert!(fired <= 500_000, "{fired} before it");
            stage.advance(ms(1));
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, fired_at_last).await.unwrap();
    assert!(secs(500) < beat.stats().behind, "{:?}", beat.stats());
}
