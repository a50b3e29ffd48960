//! The fields of a crontab: their names, ranges and words.

use std::collections::BTreeSet;
use std::fmt;

/// The first year of a crontab.
pub const YEAR_MIN: u16 = 1970;
/// The last year of a crontab: it has no occurrences after it.
pub const YEAR_MAX: u16 = 2100;

/// A field of a crontab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Of a minute; only where there are six fields or more.
    Second,
    /// Of an hour.
    Minute,
    /// Of a day.
    Hour,
    /// From 1 on.
    DayOfMonth,
    /// From 1 on.
    Month,
    /// Sunday is 0 and 7.
    DayOfWeek,
    /// Only where there are seven fields.
    Year,
}

/// The numbers that a field names; Sunday is 0.
pub(super) type Values = BTreeSet<u16>;

pub(super) const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
pub(super) const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Field {
    /// The numbers that `*` names, from the first to the last.
    pub(super) const fn range(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
            Self::Year => (YEAR_MIN, YEAR_MAX),
        }
    }

    /// The last number that may be written.
    pub(super) const fn written_max(self) -> u16 {
        match self {
            Self::DayOfWeek => 7,
            _ => self.range().1,
        }
    }

    /// The longest step: how many values there are.
    pub(super) const fn step_max(self) -> u16 {
        let (min, max) = self.range();
        max - min + 1
    }

    pub(super) fn all(self) -> Values {
        let (min, max) = self.range();
        (min..=max).collect()
    }

    /// The number of a name.
    pub(super) fn named(self, text: &str) -> Option<u16> {
        let names: &[&str] = match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            _ => return None,
        };
        let index = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))?;
        Some(self.range().0 + u16::try_from(index).expect("there are at most twelve names"))
    }

    pub(super) const fn is_day(self) -> bool {
        matches!(self, Self::DayOfMonth | Self::DayOfWeek)
    }

    pub(super) fn allowed(self) -> String {
        match self {
            Self::Month => "1-12 and JAN-DEC".to_owned(),
            Self::DayOfWeek => "0-7 (0 and 7 are Sunday) and SUN-SAT".to_owned(),
            _ => {
                let (min, max) = self.range();
                format!("{min}-{max}")
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
            Self::Year => "year",
        })
    }
}
