//! The sun's events against the formulas of the solar calculator of NOAA, and where the sun stays up or down.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use jiff::Timestamp;
use lovage_beat::{Schedule, SolarEvent};
use lovage_core::Millis;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn utc(text: &str) -> Millis {
    let instant: Timestamp = text.parse().unwrap();
    Millis::new(instant.as_millisecond().try_into().unwrap())
}

fn next(schedule: &Schedule, after: &str) -> String {
    let next = schedule.next_after(utc(after)).unwrap();
    Timestamp::from_millisecond(next.get().try_into().unwrap())
        .unwrap()
        .to_string()
}

const LISBON: (f64, f64) = (38.7223, -9.1393);
const TROMSO: (f64, f64) = (69.6492, 18.9553);

#[test]
fn events_are_within_two_minutes_of_the_almanac() {
    for ((latitude, longitude), event, expected) in [
        (LISBON, "dawn_astronomical", "2026-03-20T05:11:17Z"),
        (LISBON, "dawn_nautical", "2026-03-20T05:42:44Z"),
        (LISBON, "dawn_civil", "2026-03-20T06:13:43Z"),
        (LISBON, "sunrise", "2026-03-20T06:40:12Z"),
        (LISBON, "solar_noon", "2026-03-20T12:43:59Z"),
        (LISBON, "sunset", "2026-03-20T18:48:24Z"),
        (LISBON, "dusk_civil", "2026-03-20T19:14:57Z"),
        (LISBON, "dusk_nautical", "2026-03-20T19:46:00Z"),
        (LISBON, "dusk_astronomical", "2026-03-20T20:17:33Z"),
        // London, New York, Sydney, Quito, Taveuni near the date line.
        ((51.5074, -0.1278), "sunrise", "2024-12-21T08:04:00Z"),
        ((51.5074, -0.1278), "sunset", "2024-12-21T15:53:40Z"),
        ((40.7128, -74.0060), "sunrise", "2024-06-20T09:24:54Z"),
        ((40.7128, -74.0060), "sunset", "2024-06-21T00:30:39Z"),
        ((-33.8688, 151.2093), "sunrise", "2025-12-31T18:47:30Z"),
        ((-33.8688, 151.2093), "sunset", "2026-01-01T09:09:24Z"),
        ((-0.1807, -78.4678), "solar_noon", "2026-09-23T17:06:11Z"),
        ((-18.1416, 178.4419), "solar_noon", "2026-01-01T00:09:34Z"),
    ] {
        let event: SolarEvent = event.parse().unwrap();
        let schedule = Schedule::solar(event, latitude, longitude).unwrap();
        let expected_at = utc(expected).get();
        let found = schedule
            .next_after(Millis::new(expected_at - 12 * 60 * MINUTE))
            .unwrap()
            .get();
        assert!(
            found.abs_diff(expected_at) <= 2 * MINUTE,
            "{schedule}: {expected} and {} s more",
            found.abs_diff(expected_at) / 1_000
        );
    }
}

#[test]
fn each_day_has_one_event_all_over_the_year_and_the_world() {
    for longitude in [-180.0, -120.0, -60.5, 0.0, 60.5, 120.0, 180.0] {
        for event in [
            SolarEvent::SolarNoon,
            SolarEvent::Sunrise,
            SolarEvent::DuskCivil,
        ] {
            let schedule = Schedule::solar(event, 35.0, longitude).unwrap();
            let mut at = schedule.next_after(utc("2026-01-01T00:00:00Z")).unwrap();
            for day in 0..400 {
                let next = schedule.next_after(at).unwrap();
                let apart = next.get() - at.get();
                assert!(
                    apart.abs_diff(DAY) < 5 * MINUTE,
                    "{schedule}, day {day}: {apart} ms"
                );
                assert_eq!(schedule.last_until(Millis::new(next.get() - 1)), Some(at));
                at = next;
            }
        }
    }
}

#[test]
fn an_event_that_stays_away_for_months_comes_with_the_season() {
    let (latitude, longitude) = TROMSO;
    let sunrise = Schedule::solar(SolarEvent::Sunrise, latitude, longitude).unwrap();
    for (after, from, to) in [
        // No day in winter, no night in summer.
        ("2026-12-01T00:00:00Z", "2027-01-13", "2027-01-18"),
        ("2026-06-01T00:00:00Z", "2026-07-24", "2026-07-29"),
    ] {
        let next = next(&sunrise, after);
        assert!((from..to).contains(&&next[..10]), "after {after}: {next}");
    }
    let noon = Schedule::solar(SolarEvent::SolarNoon, latitude, longitude).unwrap();
    assert_eq!(
        &next(&noon, "2026-12-21T00:00:00Z")[..15],
        "2026-12-21T10:4"
    );
}

#[test]
fn where_an_event_never_comes_the_search_ends() {
    // On a pole the sun goes round, and up and down once a year.
    for latitude in [-90.0, 90.0] {
        let never = Schedule::solar(SolarEvent::Sunrise, latitude, 0.0).unwrap();
        assert_eq!(never.next_after(utc("2026-01-01T00:00:00Z")), None);
        assert_eq!(never.last_until(utc("2026-01-01T00:00:00Z")), None);
    }
    let late = Schedule::solar(SolarEvent::Sunrise, 0.0, 0.0).unwrap();
    assert_eq!(late.next_after(utc("2101-01-05T00:00:00Z")), None);
    assert_eq!(late.next_after(Millis::MAX), None);
}

#[test]
fn places_that_are_not_on_earth_are_refused() {
    for (latitude, longitude, part) in [
        (90.1, 0.0, "latitude 90.1 is not between -90 and 90 degrees"),
        (
            0.0,
            -180.5,
            "longitude -180.5 is not between -180 and 180 degrees",
        ),
        (f64::NAN, 0.0, "latitude NaN"),
        (0.0, f64::INFINITY, "longitude inf"),
    ] {
        let error = Schedule::solar(SolarEvent::Sunset, latitude, longitude).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = "dawn".parse::<SolarEvent>().unwrap_err().to_string();
    assert!(
        error.contains("solar event \"dawn\" is unknown; use dawn_astronomical"),
        "{error}"
    );
}
