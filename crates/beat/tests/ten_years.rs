//! Ten years of a thousand schedules in seconds: each occurrence becomes one task, none is lost, and there are as many
//! as the calendar has.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where its stage cannot be set"
)]

mod stage;

use std::collections::{HashMap, HashSet};

use lovage_beat::{Entry, Misfire, Origin, Schedule};
use lovage_core::{Millis, hours};
use stage::{Stage, entry_to};

/// 2021-01-01T00:00:00Z, a Friday.
const START: Millis = Millis::new(1_609_459_200_000);
/// 2031-01-01T00:00:00Z.
const END: Millis = Millis::new(1_924_992_000_000);
const DAY_MS: u64 = 86_400_000;

/// A kind of schedule, how many there are of it, and how often each occurs behind `START` and not behind `END`, by
/// the calendar.
struct Kind {
    name: &'static str,
    make: fn(u64) -> Schedule,
    schedules: u64,
    occurrences: fn(u64) -> u64,
}

fn cron(expression: &str) -> Schedule {
    Schedule::cron(expression).unwrap()
}

const ZONES: [&str; 8] = [
    "Europe/Lisbon",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Auckland",
];

fn zone(n: u64) -> &'static str {
    ZONES[usize::try_from(n).unwrap() % ZONES.len()]
}

/// Days from `START` to `END`: ten years, with the leap days of 2024 and 2028.
const DAYS: u64 = 10 * 365 + 2;

const KINDS: [Kind; 9] = [
    Kind {
        name: "interval-hours",
        // 100 hours and more, from an anchor of its own.
        make: |n| {
            let schedule = Schedule::every(hours(100 + n)).unwrap();
            schedule.anchored(START)
        },
        schedules: 200,
        occurrences: |n| (END.get() - START.get()) / (DAY_MS / 24 * (100 + n)),
    },
    Kind {
        name: "interval-days",
        make: |n| {
            Schedule::every(hours(24 * (n + 2)))
                .unwrap()
                .anchored(START)
        },
        schedules: 100,
        occurrences: |n| DAYS / (n + 2),
    },
    Kind {
        name: "weekly",
        // Two in the afternoon is the same day in Greenwich, wherever it is.
        make: |n| cron(&format!("0 14 * * {}", n % 7)).tz(zone(n)).unwrap(),
        schedules: 200,
        // 521 weeks and five days, of which the first is a Friday.
        occurrences: |n| match n % 7 {
            3 | 4 => 521,
            _ => 522,
        },
    },
    Kind {
        name: "monthly",
        make: |n| {
            let day = n % 28 + 1;
            cron(&format!("30 2 {day} * *")).tz(zone(n)).unwrap()
        },
        schedules: 250,
        // The clocks jump over half past two in some zones: it is run later, once.
        occurrences: |_| 120,
    },
    Kind {
        name: "the-31st",
        make: |n| cron("0 12 31 * *").tz(zone(n)).unwrap(),
        schedules: 80,
        occurrences: |_| 70,
    },
    Kind {
        name: "leap-days",
        make: |n| cron("0 12 29 2 *").tz(zone(n)).unwrap(),
        schedules: 50,
        occurrences: |_| 2,
    },
    Kind {
        name: "without-christmas",
        make: |n| {
            let schedule = cron("0 12 25 * *").tz(zone(n)).unwrap();
            (2021..2031).fold(schedule, |schedule, year| {
                schedule.except(&format!("{year}-12-25")).unwrap()
            })
        },
        schedules: 80,
        occurrences: |_| 110,
    },
    Kind {
        name: "bounded",
        // The year 2025 alone, and of its days the first hundred.
        make: |_| {
            let schedule = cron("0 12 * * *").starting(Millis::new(1_735_689_600_000));
            schedule
                .ending(Millis::new(1_767_225_600_000))
                .max_runs(100)
        },
        schedules: 20,
        occurrences: |_| 100,
    },
    Kind {
        name: "daily",
        make: |n| cron("30 2 * * *").tz(zone(n)).unwrap(),
        schedules: 20,
        occurrences: |_| DAYS,
    },
];

fn entries() -> Vec<(Entry, u64)> {
    let of_kind = |kind: &'static Kind| {
        (0..kind.schedules).map(move |n| {
            let schedule = (kind.make)(n).misfire(Misfire::All);
            let name = format!("{}-{n}", kind.name);
            let entry = entry_to(&name, schedule, &format!("queue-{}", n % 5));
            (entry, (kind.occurrences)(n))
        })
    };
    KINDS.iter().flat_map(of_kind).collect()
}

#[tokio::test]
async fn ten_years_of_a_thousand_schedules_fire_each_occurrence_once() {
    let stage = Stage::at(START);
    let entries = entries();
    assert_eq!(entries.len(), 1000);
    let expected: u64 = entries.iter().map(|(_, occurrences)| occurrences).sum();
    let mut counts: HashMap<String, u64> = HashMap::new();
    let source = lovage_beat::Source {
        origin: Origin::Code("simulation".into()),
        entries: entries.iter().map(|(entry, _)| entry.clone()).collect(),
    };
    stage.timetable.apply(&source).await.unwrap();

    let beat = stage.beat().await;
    let (mut seen, mut taken) = (HashSet::new(), 0u64);
    while stage.now() < END {
        // Four weeks at once, and each occurrence of it is fired for itself.
        let span = END.since(stage.now()).min(hours(24 * 28));
        stage.advance(span);
        stage.settle(&beat).await;
        for n in 0..5 {
            for (id, name) in stage.taken_by_schedule(&format!("queue-{n}")).await {
                taken += 1;
                assert!(seen.insert(id), "{id} of {name} was fired twice");
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    for (entry, occurrences) in &entries {
        let count = counts.get(entry.name.as_str()).copied().unwrap_or(0);
        assert_eq!(count, *occurrences, "{}: {}", entry.name, entry.schedule);
    }
    assert_eq!(taken, expected);
    let stats = beat.stats();
    assert_eq!((stats.fired, stats.skipped, stats.errors), (expected, 0, 0));
    println!("{taken} tasks of {} schedules", entries.len());
}
