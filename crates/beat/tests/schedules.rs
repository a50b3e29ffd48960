//! Bounds, excepted dates, policies, the stored form and the page about schedules.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::time::Duration;

use jiff::Timestamp;
use lovage_beat::{Fold, Gap, Misfire, Overlap, Schedule, ScheduleError, SolarEvent};
use lovage_core::{Millis, hours, mins, ms, secs};

fn utc(text: &str) -> Millis {
    let instant: Timestamp = text.parse().unwrap();
    Millis::new(instant.as_millisecond().try_into().unwrap())
}

fn shown(instant: Millis) -> String {
    let instant = Timestamp::from_millisecond(instant.get().try_into().unwrap());
    instant.unwrap().to_string()
}

fn after(schedule: &Schedule, instant: &str, count: usize) -> Vec<String> {
    std::iter::successors(schedule.next_after(utc(instant)), |at| {
        schedule.next_after(*at)
    })
    .take(count)
    .map(shown)
    .collect()
}

#[test]
fn bounds_include_their_instants() {
    let hourly = Schedule::cron("@hourly")
        .unwrap()
        .starting(utc("2026-01-01T10:00:00Z"))
        .ending(utc("2026-01-01T12:00:00Z"));
    assert_eq!(
        after(&hourly, "2025-01-01T00:00:00Z", 9),
        [
            "2026-01-01T10:00:00Z",
            "2026-01-01T11:00:00Z",
            "2026-01-01T12:00:00Z"
        ]
    );
    for (until, last) in [
        ("2026-01-01T09:59:59Z", None),
        ("2026-01-01T10:00:00Z", Some("2026-01-01T10:00:00Z")),
        ("2026-01-01T11:59:59Z", Some("2026-01-01T11:00:00Z")),
        ("2030-01-01T00:00:00Z", Some("2026-01-01T12:00:00Z")),
    ] {
        let found = hourly.last_until(utc(until)).map(shown);
        assert_eq!(found.as_deref(), last, "until {until}");
    }
    let empty = Schedule::every(ms(100))
        .unwrap()
        .starting(Millis::new(2_050))
        .ending(Millis::new(2_040));
    assert_eq!(empty.next_after(Millis::new(0)), None);
    assert_eq!(empty.last_until(Millis::MAX), None);
}

#[test]
fn the_first_occurrence_may_be_the_instant_of_the_start_and_the_epoch_comes_before_all() {
    let every = Schedule::every(secs(1)).unwrap();
    assert_eq!(every.next_after(Millis::new(0)), Some(Millis::new(1_000)));
    assert_eq!(every.last_until(Millis::new(999)), Some(Millis::new(0)));
    assert_eq!(every.next_after(Millis::MAX), None);
    let once = Schedule::at(Millis::new(5));
    assert_eq!(once.next_after(Millis::new(4)), Some(Millis::new(5)));
    assert_eq!(once.next_after(Millis::new(5)), None);
    assert_eq!(once.last_until(Millis::new(5)), Some(Millis::new(5)));
    assert_eq!(once.last_until(Millis::new(4)), None);
    assert_eq!(
        Schedule::at(Millis::MAX).next_after(Millis::new(0)),
        Some(Millis::MAX)
    );
}

#[test]
fn the_last_occurrence_is_the_one_before_the_next() {
    let schedules = [
        Schedule::every(ms(700)).unwrap().anchored(Millis::new(123)),
        Schedule::cron("30 1 * * *")
            .unwrap()
            .tz("Europe/Lisbon")
            .unwrap(),
        Schedule::cron("*/5 * * * * *").unwrap(),
        Schedule::cron("0 0 29 2 *")
            .unwrap()
            .tz("Asia/Tokyo")
            .unwrap(),
    ];
    for schedule in schedules {
        let mut at = schedule.next_after(utc("1971-01-01T00:00:00Z")).unwrap();
        for _ in 0..15 {
            let next = schedule.next_after(at).unwrap();
            assert_eq!(schedule.last_until(at), Some(at), "{schedule}");
            let before = Millis::new(next.get() - 1);
            assert_eq!(schedule.last_until(before), Some(at), "{schedule}");
            at = next;
        }
    }
}

#[test]
fn nothing_occurs_on_excepted_dates_of_the_zone() {
    let open = Schedule::cron("0 */12 * * *")
        .unwrap()
        .tz("Asia/Tokyo")
        .unwrap();
    let open = open
        .except("2026-05-04")
        .unwrap()
        .except("2026-05-05")
        .unwrap();
    assert_eq!(
        after(&open, "2026-05-02T15:00:00Z", 3),
        // Noon of the third, midnight and noon of the sixth, in Tokyo.
        [
            "2026-05-03T03:00:00Z",
            "2026-05-05T15:00:00Z",
            "2026-05-06T03:00:00Z"
        ]
    );
    let every = Schedule::every(ms(100)).unwrap().tz("Asia/Tokyo").unwrap();
    let every = every.except("2026-05-04").unwrap();
    assert_eq!(
        after(&every, "2026-05-03T14:59:59.900Z", 1),
        ["2026-05-04T15:00:00Z"]
    );
    assert_eq!(
        every
            .last_until(utc("2026-05-04T10:00:00Z"))
            .map(shown)
            .as_deref(),
        Some("2026-05-03T14:59:59.9Z")
    );
    let once = Schedule::at(utc("2026-05-04T00:00:00Z"))
        .except("2026-05-04")
        .unwrap();
    assert_eq!(once.next_after(Millis::new(0)), None);
}

/// In St. John's the clocks went back from a minute past midnight to the evening of the day before.
#[test]
fn a_date_that_comes_again_is_excepted_again() {
    let schedule = Schedule::cron("30 23 * * *")
        .unwrap()
        .tz("America/St_Johns")
        .unwrap();
    let schedule = schedule.fold(Fold::Both);
    let after_noon = "2010-11-06T15:00:00Z";
    assert_eq!(
        after(&schedule, after_noon, 3),
        [
            "2010-11-07T02:00:00Z",
            "2010-11-07T03:00:00Z",
            "2010-11-08T03:00:00Z"
        ]
    );
    let schedule = schedule.except("2010-11-06").unwrap();
    assert_eq!(after(&schedule, after_noon, 1), ["2010-11-08T03:00:00Z"]);
}

#[test]
fn a_schedule_that_excepts_all_its_dates_has_no_next() {
    let mut schedule = Schedule::cron("0 0 12 * * * 2026").unwrap();
    let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
    for date in first.series(jiff::Span::new().days(1)).take(365) {
        schedule = schedule.except(&date.to_string()).unwrap();
    }
    assert_eq!(schedule.next_after(utc("2025-06-01T00:00:00Z")), None);
    assert_eq!(schedule.last_until(utc("2030-06-01T00:00:00Z")), None);
}

#[test]
fn what_is_no_date_is_refused_and_so_are_too_many() {
    for text in [
        "",
        "2026-13-01",
        "2026-02-29",
        "25.12.2026",
        "2026-12-25T00:00",
        "20261225",
        "２０２６-12-25",
    ] {
        let error = Schedule::at(Millis::new(0))
            .except(text)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is no date; write year, month and day, as in 2026-12-25"),
            "{error}"
        );
    }
    let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
    let mut dates = first.series(jiff::Span::new().days(1));
    let full = (0..1_000).fold(Schedule::at(Millis::new(0)), |schedule, _| {
        schedule.except(&dates.next().unwrap().to_string()).unwrap()
    });
    assert_eq!(full.clone().except("2026-01-01").unwrap(), full);
    assert_eq!(
        full.except("2099-01-01").unwrap_err(),
        ScheduleError::TooManyDates
    );
}

#[test]
fn policies_are_read_as_they_are_written() {
    for (text, policy) in [
        ("skip", Misfire::Skip),
        ("once", Misfire::Once),
        ("all", Misfire::All),
        ("within 1h", Misfire::Within(hours(1))),
        ("within 1m 30s", Misfire::Within(secs(90))),
    ] {
        assert_eq!(text.parse(), Ok(policy));
        assert_eq!(policy.to_string(), text);
    }
    assert_eq!("queue".parse(), Ok(Overlap::Queue));
    assert_eq!("shift".parse(), Ok(Gap::Shift));
    assert_eq!("both".parse(), Ok(Fold::Both));
    for (error, part) in [
        (
            "within".parse::<Misfire>().unwrap_err(),
            "misfire \"within\" is unknown; use skip, once, all, or within",
        ),
        (
            "within 5".parse::<Misfire>().unwrap_err(),
            "within and a span, as in within 1h",
        ),
        (
            "Allow".parse::<Overlap>().unwrap_err(),
            "overlap \"Allow\" is unknown; use allow, skip or queue",
        ),
        (
            "once".parse::<Gap>().unwrap_err(),
            "gap \"once\" is unknown; use shift or skip",
        ),
        (
            "last".parse::<Fold>().unwrap_err(),
            "fold \"last\" is unknown; use first or both",
        ),
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn times_are_the_same_whatever_the_policies_and_the_spelling() {
    let cron = |text: &str| Schedule::cron(text).unwrap();
    let same = [
        (cron("0 9 * * MON-FRI"), cron("0 0 9 * * 1-5")),
        (
            cron("@daily"),
            cron("0 0 * * *")
                .jitter(secs(5))
                .max_runs(3)
                .misfire(Misfire::All),
        ),
        (
            cron("0 9 * * *"),
            cron("0 9 * * *").gap(Gap::Shift).fold(Fold::First),
        ),
        (
            Schedule::every(secs(60)).unwrap(),
            Schedule::every(mins(1))
                .unwrap()
                .anchored(Millis::new(120_000)),
        ),
        (
            Schedule::every(secs(60)).unwrap(),
            Schedule::every(secs(60)).unwrap().tz("Asia/Tokyo").unwrap(),
        ),
    ];
    for (a, b) in same {
        assert!(a.same_times(&b), "{a} and {b}");
    }
    let differ = [
        (
            cron("0 9 * * *"),
            cron("0 9 * * *").tz("Asia/Tokyo").unwrap(),
        ),
        (cron("0 9 * * *"), cron("0 9 * * *").gap(Gap::Skip)),
        (cron("0 9 * * *"), cron("0 9 * * *").ending(Millis::new(1))),
        (
            cron("0 9 * * *"),
            cron("0 9 * * *").except("2026-12-25").unwrap(),
        ),
        (cron("0 */1 * * *"), Schedule::every(hours(1)).unwrap()),
        (
            Schedule::every(secs(60)).unwrap(),
            Schedule::every(secs(60)).unwrap().anchored(Millis::new(1)),
        ),
    ];
    for (a, b) in differ {
        assert!(!a.same_times(&b), "{a} and {b}");
    }
}

#[test]
fn a_schedule_says_in_words_what_it_does() {
    for (schedule, expected) in [
        (
            Schedule::cron("0 9 * * MON-FRI")
                .unwrap()
                .tz("europe/lisbon")
                .unwrap(),
            "0 9 * * MON-FRI in Europe/Lisbon",
        ),
        (
            Schedule::every(secs(90)).unwrap().max_runs(1),
            "every 1m 30s, 1 run at most",
        ),
        (
            Schedule::at(utc("2026-01-01T10:00:00Z")),
            "once at 2026-01-01T10:00:00Z",
        ),
        (
            Schedule::solar(SolarEvent::Sunset, 38.5, -9.0)
                .unwrap()
                .starting(utc("2026-01-01T10:00:00Z"))
                .ending(Millis::MAX)
                .except("2026-12-25")
                .unwrap()
                .jitter(ms(1_500)),
            "sunset at latitude 38.5, longitude -9, from 2026-01-01T10:00:00Z, until 9007199254740991 ms, \
             except on 1 date, up to 1s 500ms late",
        ),
    ] {
        assert_eq!(schedule.to_string(), expected);
    }
}

/// What is stored stays readable: lines are only ever added here.
#[test]
fn schedules_are_stored_as_they_always_were() {
    let full = Schedule::cron("0 9 * * MON-FRI")
        .unwrap()
        .tz("Europe/Lisbon")
        .unwrap();
    let full = full
        .starting(Millis::new(1))
        .ending(Millis::new(2))
        .except("2026-12-25")
        .unwrap()
        .jitter(ms(5))
        .max_runs(7)
        .misfire(Misfire::Within(hours(1)))
        .overlap(Overlap::Queue)
        .gap(Gap::Skip)
        .fold(Fold::Both);
    for (schedule, bytes) in [
        (
            full,
            &b"\x8b\xa4cron\xaf0 9 * * MON-FRI\xa2tz\xadEurope/Lisbon\xa4from\x01\xa5until\x02\
               \xa6except\x91\xaa2026-12-25\xa6jitter\x05\xa4runs\x07\xa7misfire\xa9within 1h\
               \xa7overlap\xa5queue\xa3gap\xa4skip\xa4fold\xa4both"[..],
        ),
        (
            Schedule::every(ms(100)).unwrap().anchored(Millis::new(7)),
            b"\x84\xa5every\x64\xa6anchor\x07\xa7misfire\xa4once\xa7overlap\xa5allow",
        ),
        (
            Schedule::at(Millis::new(9)),
            b"\x83\xa2at\x09\xa7misfire\xa4once\xa7overlap\xa5allow",
        ),
        (
            Schedule::solar(SolarEvent::DuskCivil, 1.0, -2.0).unwrap(),
            b"\x85\xa5solar\xaadusk_civil\xa3lat\xcb\x3f\xf0\0\0\0\0\0\0\xa3lon\xcb\xc0\0\0\0\0\0\0\0\
              \xa7misfire\xa4once\xa7overlap\xa5allow",
        ),
    ] {
        let written = rmp_serde::to_vec(&schedule).unwrap();
        assert_eq!(
            written.escape_ascii().to_string(),
            bytes.escape_ascii().to_string(),
            "{schedule}"
        );
        assert_eq!(rmp_serde::from_slice::<Schedule>(bytes).unwrap(), schedule);
    }
}

#[test]
fn unknown_keys_are_ignored_and_missing_ones_have_defaults() {
    let read = |bytes: &[u8]| rmp_serde::from_slice::<Schedule>(bytes);
    let once = read(b"\x82\xa2at\x09\xa5later\x91\xc0").unwrap();
    assert_eq!(once, Schedule::at(Millis::new(9)));
    for (bytes, part) in [
        (
            &b"\x80"[..],
            "has one of cron, every, at and solar, and this one has 0",
        ),
        (b"\x82\xa2at\x09\xa5every\x64", "this one has 2"),
        (b"\x81\xa5every\x01", "a period of 1ms is not between"),
        (b"\x81\xa5solar\xa7sunrise", "a schedule of the sun has lat"),
        (
            b"\x82\xa2at\x09\xa2tz\xa5Utopi",
            "there is no time zone \"Utopi\"",
        ),
        (b"\x81\xa4cron\xa1*", "there are 1 fields"),
    ] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // An instant beyond the largest one, as no version writes it.
    let beyond = read(b"\x81\xa2at\xcf\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
    assert_eq!(beyond.next_after(Millis::new(0)), Some(Millis::MAX));
}

const PAGE: &str = include_str!("../../../docs/schedules.md");

/// The rows of the page's table are made here from what the schedules do.
#[test]
fn the_page_on_schedules_says_what_happens_when_clocks_are_moved() {
    let cron = |text: &str| Schedule::cron(text).unwrap().tz("Europe/Lisbon").unwrap();
    let night = |schedule: &Schedule, date: &str| -> String {
        let (from, to) = (
            utc(&format!("{date}T00:00:00Z")),
            utc(&format!("{date}T02:00:00Z")),
        );
        let times: Vec<String> =
            std::iter::successors(schedule.next_after(Millis::new(from.get() - 1)), |at| {
                schedule.next_after(*at)
            })
            .take_while(|at| *at <= to)
            .map(|at| shown(at)[11..16].to_owned())
            .collect();
        if times.is_empty() {
            "none".to_owned()
        } else {
            times.join(" ")
        }
    };
    let (spring, autumn) = ("2026-03-29", "2026-10-25");
    let mut half_hourly = vec![(
        "interval-like `*/30 * * * *`",
        cron("*/30 * * * *"),
        "default",
    )];
    half_hourly.push(("", cron("*/30 * * * *").fold(Fold::First), "`fold = first`"));
    for (what, schedule, policy) in [
        ("time of day `30 1 * * *`", cron("30 1 * * *"), "default"),
        ("", cron("30 1 * * *").gap(Gap::Skip), "`gap = skip`"),
        ("", cron("30 1 * * *").fold(Fold::Both), "`fold = both`"),
    ]
    .into_iter()
    .chain(half_hourly)
    .chain([(
        "interval `every 30m`",
        Schedule::every(mins(30)).unwrap(),
        "none",
    )]) {
        let row = format!(
            "| {what} | {policy} | {} | {} |",
            night(&schedule, spring),
            night(&schedule, autumn)
        );
        assert!(PAGE.contains(&row), "docs/schedules.md lacks {row}");
    }
    let met = cron("30 1,2 * * *");
    assert_eq!(
        after(&met, "2026-03-28T12:00:00Z", 2),
        ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    );
    let error = Schedule::cron("0 25 * * *").unwrap_err().to_string();
    assert!(PAGE.contains(&error), "docs/schedules.md lacks {error}");
}

#[test]
fn jitter_and_runs_are_said_and_kept() {
    let schedule = Schedule::at(Millis::new(1)).jitter(secs(9)).max_runs(2);
    assert_eq!(schedule.jitter_limit(), secs(9));
    assert_eq!(schedule.max_runs_limit(), Some(2));
    assert_eq!(Schedule::at(Millis::new(1)).jitter_limit(), Duration::ZERO);
}
