//! Time zones as stretches of one offset each.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil};

use crate::error::{ScheduleError, cited};

/// A zone of the IANA database.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl PartialEq for Zone {
    /// By name: a new release of the database makes no other schedule of one that names it.
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// A stretch between two changes of a zone's clocks, in milliseconds; local times count from the epoch as if in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The first instant with this offset, where clocks were moved in the last two days.
    pub(crate) start: Option<i64>,
    /// The first instant of the next segment.
    pub(crate) end: i64,
    /// Local time less UTC.
    pub(crate) offset: i64,
    /// The offset before `start`.
    pub(crate) before: i64,
}

/// What is longer ago has no part in the present: no clock of the database was ever moved by more than a day since 1970.
pub(crate) const MOVED_MAX_MS: i64 = 2 * 86_400_000;

impl Zone {
    pub(crate) fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Finds a zone by its name, in whatever case.
    pub(crate) fn named(name: &str) -> Result<Self, ScheduleError> {
        let unknown = || ScheduleError::Zone {
            name: cited(name),
            near: near(name),
        };
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        let zone = jiff::tz::db().get(name).map_err(|_| unknown())?;
        // A zone without a name could not be stored.
        zone.iana_name().ok_or_else(unknown)?;
        Ok(Self(zone))
    }

    /// Its name in the database.
    pub(crate) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(crate) fn is_utc(&self) -> bool {
        self.0 == TimeZone::UTC
    }

    /// The segment that holds an instant.
    pub(crate) fn segment(&self, at: i64) -> Segment {
        let instant = timestamp(at);
        let offset = offset_ms(&self.0, instant);
        let end = self
            .0
            .following(instant)
            .next()
            .map_or(i64::MAX, |next| next.timestamp().as_millisecond());
        let unmoved = Segment {
            start: None,
            end,
            offset,
            before: offset,
        };
        let behind = instant.saturating_add(1.nanosecond()).unwrap_or(instant);
        self.0
            .preceding(behind)
            .map(|change| change.timestamp())
            .take_while(|change| at - change.as_millisecond() < MOVED_MAX_MS)
            // Some changes are only of a name or of what the law calls summer.
            .find_map(|change| {
                let last = change.saturating_sub(1.nanosecond()).unwrap_or(change);
                let before = offset_ms(&self.0, last);
                (before != offset).then(|| Segment {
                    start: Some(change.as_millisecond()),
                    before,
                    ..unmoved
                })
            })
            .unwrap_or(unmoved)
    }

    /// The local date at an instant; `None` past the year 9999.
    pub(crate) fn date(&self, at: i64) -> Option<civil::Date> {
        let instant = Timestamp::from_millisecond(at).ok()?;
        Some(self.0.to_datetime(instant).date())
    }

    /// The first instant behind `at` at which a later date than `date` may have begun: a clock that is put back
    /// across midnight shows a date again.
    pub(crate) fn end_of(&self, date: civil::Date, at: i64) -> Option<i64> {
        let midnight = date.tomorrow().ok()?.to_datetime(civil::Time::midnight());
        let ambiguous = self.0.to_ambiguous_timestamp(midnight);
        [ambiguous.earlier(), ambiguous.later()]
            .into_iter()
            .filter_map(|instant| Some(instant.ok()?.as_millisecond()))
            .find(|instant| at < *instant)
    }
}

fn timestamp(ms: i64) -> Timestamp {
    let (min, max) = (Timestamp::MIN, Timestamp::MAX);
    Timestamp::from_millisecond(ms.clamp(min.as_millisecond(), max.as_millisecond())).unwrap_or(max)
}

fn offset_ms(zone: &TimeZone, at: Timestamp) -> i64 {
    i64::from(zone.to_offset(at).seconds()) * 1_000
}

/// A zone that may be meant by a name that is none.
fn near(name: &str) -> Option<String> {
    let plain = |name: &str| -> String {
        name.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .take(40)
            .collect()
    };
    let meant = plain(name);
    jiff::tz::db()
        .available()
        .map(|zone| {
            let zone = zone.as_str();
            let city = zone.rsplit('/').next().unwrap_or(zone);
            let distance = distance(&meant, &plain(zone)).min(distance(&meant, &plain(city)));
            (distance, zone.len(), zone.to_owned())
        })
        .min()
        // A third of another name is no slip of the pen.
        .filter(|(distance, ..)| distance * 3 < meant.len())
        .map(|(_, _, zone)| zone)
}

/// How many letters must be put in, taken out or changed to make one text of another.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_zone_is_refused_with_what_may_be_meant() {
        for (name, part) in [
            ("Lisbon", "did you mean Europe/Lisbon?"),
            ("Europe/Lisboa", "did you mean Europe/Lisbon?"),
            ("America/New York", "did you mean America/New_York?"),
            (
                "WET-0WEST,M3.5.0/1,M10.5.0",
                "use a name of the IANA database",
            ),
            ("", "there is no time zone \"\""),
            ("../../etc/passwd", "there is no time zone"),
            ("/usr/share/zoneinfo/Europe/Lisbon", "there is no time zone"),
            ("+01:00", "there is no time zone"),
        ] {
            let error = Zone::named(name).unwrap_err().to_string();
            assert!(error.contains(part), "{name:?}: {error}");
        }
    }

    #[test]
    fn a_zone_has_the_name_of_the_database_however_it_is_written() {
        for (name, expected) in [
            ("europe/lisbon", "Europe/Lisbon"),
            ("utc", "UTC"),
            ("UTC", "UTC"),
            ("Etc/GMT+5", "Etc/GMT+5"),
        ] {
            assert_eq!(Zone::named(name).unwrap().name(), expected);
        }
    }
}
