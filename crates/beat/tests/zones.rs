//! Crontabs at each change of the clocks of each zone, compared with a plain count of all local minutes around it.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::{BTreeSet, HashSet};

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use lovage_beat::{Fold, Gap, Schedule};
use lovage_core::Millis;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// One change of a zone's offset; times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    at: i64,
    before: i64,
    after: i64,
}

fn ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000
}

fn year(year: i16) -> Timestamp {
    let first = jiff::civil::date(year, 1, 1);
    first.in_tz("UTC").unwrap().timestamp()
}

/// All changes of offset from the beginning of one year to the beginning of another.
fn changes(zone: &TimeZone, from: i16, to: i16) -> Vec<Change> {
    zone.following(year(from))
        .take_while(|change| change.timestamp() < year(to))
        .map(|change| Change {
            at: change.timestamp().as_millisecond(),
            before: ms(zone.to_offset(change.timestamp() - 1.nanosecond())),
            after: ms(change.offset()),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

fn zones() -> Vec<(String, TimeZone)> {
    let zones: Vec<_> = jiff::tz::db()
        .available()
        .map(|name| (name.to_string(), TimeZone::get(name.as_str()).unwrap()))
        .collect();
    assert!(400 < zones.len(), "only {} zones", zones.len());
    zones
}

/// A window around a change, which holds all that it can move.
fn window(change: Change) -> (i64, i64) {
    let moved = (change.after - change.before).abs();
    (change.at - moved - HOUR, change.at + moved + HOUR)
}

/// The instants in the window of a change at which the clocks show a multiple of `step` minutes, as the policies say.
fn counted(zone: &TimeZone, change: Change, step: i64, gap: Gap, fold: Fold) -> Vec<i64> {
    let (from, to) = window(change);
    let first = from + change.before.min(change.after) - 25 * HOUR;
    let last = to + change.before.max(change.after) + 25 * HOUR;
    // Far from the change all is plain, and counted only as far as a shift may reach.
    let reach = (change.after - change.before).abs() + 2 * HOUR;
    let first = first.max(change.at + change.before.min(change.after) - reach);
    let last = last.min(change.at + change.before.max(change.after) + reach);
    let step = step * MINUTE;
    let mut found = BTreeSet::new();
    let mut local = first.div_euclid(step) * step;
    while local <= last {
        let shown = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(local).unwrap());
        match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                found.insert(local - ms(offset));
            }
            AmbiguousOffset::Gap { before, .. } => {
                if gap == Gap::Shift {
                    found.insert(local - ms(before));
                }
            }
            AmbiguousOffset::Fold { before, after } => {
                found.insert(local - ms(before));
                if fold == Fold::Both {
                    found.insert(local - ms(after));
                }
            }
        }
        local += step;
    }
    found
        .into_iter()
        .filter(|at| (from..=to).contains(at))
        .collect()
}

/// The occurrences of a schedule in the window of a change, one found from the other.
fn found(schedule: &Schedule, change: Change) -> Vec<i64> {
    let (from, to) = window(change);
    let before = Millis::new((from - 1).try_into().unwrap());
    std::iter::successors(schedule.next_after(before), |at| schedule.next_after(*at))
        .map(|at| at.get().try_into().unwrap())
        .take_while(|at| *at <= to)
        .collect()
}

const POLICIES: [(Gap, Fold); 4] = [
    (Gap::Shift, Fold::First),
    (Gap::Skip, Fold::Both),
    (Gap::Shift, Fold::Both),
    (Gap::Skip, Fold::First),
];

fn check(name: &str, zone: &TimeZone, changes: &[Change], text: &str, step: i64) {
    let schedule = Schedule::cron(text).unwrap().tz(name).unwrap();
    for (gap, fold) in POLICIES {
        let schedule = schedule.clone().gap(gap).fold(fold);
        for change in changes {
            let counted = counted(zone, *change, step, gap, fold);
            let found = found(&schedule, *change);
            assert_eq!(found, counted, "{name}, {gap} and {fold}, {change:?}");
        }
    }
}

/// Each zone, each change, each policy: none is lost, doubled or out of order.
#[test]
fn at_each_change_of_each_zone_crontabs_occur_as_the_policies_say() {
    let mut seen = HashSet::new();
    let (mut count, mut names) = (0, 0);
    for (name, zone) in zones() {
        let changes = changes(&zone, 2000, 2041);
        count += changes.len();
        names += 1;
        // Many names are of one zone.
        if seen.insert(changes.clone()) {
            check(&name, &zone, &changes, "*/20 * * * *", 20);
        }
    }
    println!("{names} names, {} zones, {count} changes", seen.len());
    assert!(10_000 < count, "{count}");
}

/// Changes that are alike in many zones are counted once, but at each minute.
#[test]
fn at_each_kind_of_change_each_minute_occurs_as_the_policies_say() {
    let mut seen = HashSet::new();
    for (name, zone) in zones() {
        let mut changes = changes(&zone, 2000, 2041);
        // One change of each kind in each half of a decade: the rules are the same from year to year.
        changes.retain(|change| {
            seen.insert((
                change.before,
                change.after,
                change.at / (5 * 365 * 24 * HOUR),
                change.at % (24 * HOUR),
            ))
        });
        check(&name, &zone, &changes, "* * * * *", 1);
    }
    println!("{} kinds of changes", seen.len());
    assert!(300 < seen.len());
}

/// Without a word about policies, times of the day occur once on each date, and distances follow the elapsed time.
#[test]
fn at_each_change_daily_crontabs_occur_once_and_others_follow_the_elapsed_time() {
    let mut seen = HashSet::new();
    for (name, zone) in zones() {
        let changes = changes(&zone, 2000, 2041);
        if !seen.insert(changes.clone()) {
            continue;
        }
        for change in changes {
            let moved = (change.after - change.before).abs();
            // A time of the day that is lost or doubled, unless a whole day is.
            let local = change.at + change.before.min(change.after) + moved / 2;
            let shown = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(local).unwrap());
            let text = format!("{} {} * * *", shown.minute(), shown.hour());
            let daily = Schedule::cron(&text).unwrap().tz(&name).unwrap();
            let from = Millis::new((change.at - 60 * HOUR).try_into().unwrap());
            let days: Vec<i64> =
                std::iter::successors(daily.next_after(from), |at| daily.next_after(*at))
                    .map(|at| at.get().try_into().unwrap())
                    .take_while(|at| *at < change.at + 60 * HOUR)
                    .collect();
            for pair in days.windows(2) {
                let apart = (pair[1] - pair[0]) / HOUR;
                assert!((20..=28).contains(&apart), "{name}, {text}: {days:?}");
            }
            assert!((4..=6).contains(&days.len()), "{name}, {text}: {days:?}");

            // A change by a part of the distance is seen in the one distance that it falls in.
            if moved % (30 * MINUTE) == 0 {
                let half_hourly = Schedule::cron("*/30 * * * *").unwrap().tz(&name).unwrap();
                let halves = found(&half_hourly, change);
                assert!(
                    halves
                        .windows(2)
                        .all(|pair| pair[1] - pair[0] == 30 * MINUTE),
                    "{name} at {change:?}"
                );
            }
        }
    }
}

/// The search looks back two days for what a change moved.
#[test]
fn no_zone_moves_its_clocks_twice_in_two_days_or_by_more_than_one() {
    for (name, zone) in zones() {
        let changes = changes(&zone, 1970, 2101);
        for pair in changes.windows(2) {
            assert!(48 * HOUR < pair[1].at - pair[0].at, "{name}: {pair:?}");
        }
        for change in changes {
            let moved = (change.after - change.before).abs();
            assert!(moved <= 24 * HOUR, "{name}: {change:?}");
        }
    }
}

/// The rules of a zone go on where the list of its changes ends.
#[test]
fn clocks_are_moved_in_the_year_2099_as_well() {
    let schedule = Schedule::cron("0 9 * * *")
        .unwrap()
        .tz("Europe/Lisbon")
        .unwrap();
    let next = |text: &str| {
        let instant: Timestamp = text.parse().unwrap();
        let after = Millis::new(instant.as_millisecond().try_into().unwrap());
        let next = schedule.next_after(after).unwrap();
        Timestamp::from_millisecond(next.get().try_into().unwrap())
            .unwrap()
            .to_string()
    };
    // The last Sunday of March is the 29th.
    assert_eq!(next("2099-03-27T12:00:00Z"), "2099-03-28T09:00:00Z");
    assert_eq!(next("2099-03-28T12:00:00Z"), "2099-03-29T08:00:00Z");
    assert_eq!(next("2099-10-25T12:00:00Z"), "2099-10-26T09:00:00Z");
}
