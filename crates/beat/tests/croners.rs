//! Another implementation of crontabs finds the same occurrences, but where the two are known to differ.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use fastrand::Rng;
use lovage_beat::Schedule;
use lovage_core::Millis;

const SEED: u64 = 4;

/// A random field, as it is written and as the other one reads it.
struct Random {
    ours: String,
    theirs: String,
    foreign: bool,
}

/// An expression, and how the two are known to read it differently as it is written.
struct Expression {
    ours: String,
    theirs: String,
    both_days: bool,
    /// It has a range across the end of its field, or a step without an end, which the other one refuses.
    foreign: bool,
    /// It has a field of days with a step from a star on: for us not a restriction that stands by itself, for the
    /// other one it is.
    star: bool,
}

fn field(rng: &mut Rng, range: RangeInclusive<u16>, star: u8, plain: bool) -> Random {
    let mut field = Random {
        ours: String::new(),
        theirs: String::new(),
        foreign: false,
    };
    if rng.u8(..10) < star {
        field.ours.push('*');
        field.theirs.push('*');
        return field;
    }
    let (min, max) = range.into_inner();
    for entry in 0..rng.u8(1..=3) {
        let (a, b) = (rng.u16(min..=max), rng.u16(min..=max));
        let step = rng.u16(1..=max - min + 1);
        let (ours, theirs) = match rng.u8(..6) {
            // Only at the front, where each knows it.
            0 if entry == 0 => (format!("*/{step}"), format!("*/{step}")),
            1 | 2 if a <= b => (format!("{a}-{b}"), format!("{a}-{b}")),
            1 | 2 if !plain => {
                field.foreign = true;
                (format!("{a}-{b}"), format!("{a}-{max},{min}-{b}"))
            }
            3 if a <= b => (format!("{a}-{b}/{step}"), format!("{a}-{b}/{step}")),
            4 if !plain => {
                field.foreign = true;
                (format!("{a}/{step}"), format!("{a}-{max}/{step}"))
            }
            _ => (a.to_string(), a.to_string()),
        };
        let comma = if entry == 0 { "" } else { "," };
        write!(field.ours, "{comma}{ours}").unwrap();
        write!(field.theirs, "{comma}{theirs}").unwrap();
    }
    field
}

fn expression(rng: &mut Rng) -> Expression {
    // What the other one refuses would else be in nearly each.
    let plain = rng.u8(..10) < 7;
    let fields = [
        field(rng, 0..=59, 5, plain),
        field(rng, 0..=59, 3, plain),
        field(rng, 0..=23, 3, plain),
        field(rng, 1..=31, 4, plain),
        field(rng, 1..=12, 5, plain),
        field(rng, 0..=6, 4, plain),
    ];
    let front = usize::from(rng.bool());
    let join = |text: fn(&Random) -> &str| {
        let words: Vec<&str> = fields[front..].iter().map(text).collect();
        words.join(" ")
    };
    let (dates, days) = (&fields[3].ours, &fields[5].ours);
    let starred = |text: &str| text.starts_with('*');
    Expression {
        ours: join(|field| &field.ours),
        theirs: join(|field| &field.theirs),
        both_days: starred(dates) || starred(days),
        foreign: fields[front..].iter().any(|field| field.foreign),
        star: dates != "*" && days != "*" && (starred(dates) || starred(days)),
    }
}

fn theirs(text: &str, both_days: bool) -> Option<croner::Cron> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Optional)
        .dom_and_dow(both_days)
        .build()
        .parse(text)
        .ok()
}

/// The next three occurrences.
fn by_us(schedule: &Schedule, after: i64) -> Vec<i64> {
    let first = Millis::new(after.try_into().unwrap());
    std::iter::successors(schedule.next_after(first), |at| schedule.next_after(*at))
        .take(3)
        .map(|at| at.get().try_into().unwrap())
        .collect()
}

fn by_them<Z: TimeZone>(cron: &croner::Cron, after: &DateTime<Z>) -> Vec<i64>
where
    DateTime<Z>: croner::time::CronDateTime,
{
    let mut at = after.clone();
    let mut found = Vec::new();
    while found.len() < 3 {
        let Ok(next) = cron.find_next_occurrence(&at, false) else {
            break;
        };
        found.push(next.timestamp_millis());
        at = next;
    }
    found
}

#[test]
fn ten_thousand_random_crontabs_occur_as_another_implementation_says() {
    let mut rng = Rng::with_seed(SEED);
    let (mut same, mut refused, mut starred, mut never) = (0, 0, 0, 0);
    for _ in 0..10_000 {
        let expression = expression(&mut rng);
        let text = &expression.ours;
        let after = rng.i64(1_600_000_000..2_200_000_000);
        let instant = DateTime::<Utc>::from_timestamp(after, 0).unwrap();
        let Ok(schedule) = Schedule::cron(text) else {
            // Refused are dates that no year has: the other one searches for them in vain.
            let cron = theirs(&expression.theirs, expression.both_days).unwrap();
            assert_eq!(by_them(&cron, &instant), [0; 0], "{text}");
            never += 1;
            continue;
        };
        let ours = by_us(&schedule, after * 1_000);

        // Written so that the other one means the same, nothing differs.
        let equal = theirs(&expression.theirs, expression.both_days).unwrap();
        assert_eq!(
            ours,
            by_them(&equal, &instant),
            "{text} as {} after {instant}",
            expression.theirs
        );

        // As it is written, what differs has one of the known reasons.
        match theirs(text, false) {
            None => {
                assert!(expression.foreign, "{text}");
                refused += 1;
            }
            Some(cron) if by_them(&cron, &instant) == ours => same += 1,
            Some(_) => {
                assert!(expression.star, "{text}");
                starred += 1;
            }
        }
    }
    println!("same {same}, refused there {refused}, days with a star {starred}, never {never}");
    assert!(3_000 < same && 1_000 < refused && 100 < starred && 0 < never);
}

#[test]
fn random_crontabs_occur_in_zones_as_another_implementation_says() {
    let mut rng = Rng::with_seed(SEED);
    let zones = [
        Tz::Europe__Lisbon,
        Tz::America__New_York,
        Tz::Asia__Kathmandu,
    ];
    for round in 0..900 {
        let zone = zones[round % zones.len()];
        let expression = expression(&mut rng);
        // Far from any change of the clocks, which the two treat by rules of their own: at most two weeks from July on.
        let after = rng.i64(1_783_000_000..1_784_200_000);
        let instant = zone.timestamp_opt(after, 0).unwrap();
        let Ok(schedule) = Schedule::cron(&expression.ours) else {
            continue;
        };
        let schedule = schedule.tz(zone.name()).unwrap();
        let cron = theirs(&expression.theirs, expression.both_days).unwrap();
        let near = |found: Vec<i64>| -> Vec<i64> {
            found
                .into_iter()
                .filter(|at| *at < 1_785_500_000_000)
                .collect()
        };
        assert_eq!(
            near(by_us(&schedule, after * 1_000)),
            near(by_them(&cron, &instant)),
            "{} in {zone} after {instant}",
            expression.ours
        );
    }
}
