//! Crontab expressions: which local times they name.

mod error;
mod fields;
mod parse;

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use self::error::{CRONTAB_BYTES_MAX, CrontabError, CrontabProblem};
use self::fields::{DAYS, MONTHS, Values};
pub use self::fields::{Field, YEAR_MAX, YEAR_MIN};
use self::parse::Parsed;
use crate::error::cited;

/// A crontab expression that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Crontab(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    parsed: Parsed,
    /// A local time is named by any of them.
    searches: Vec<cron::Schedule>,
}

impl Crontab {
    pub(crate) fn parse(text: &str) -> Result<Self, CrontabError> {
        let parsed = parse::parse(text)?;
        let searches = searches(&parsed);
        let crontab = Self(Arc::new(Inner {
            text: text.trim().to_owned(),
            parsed,
            searches,
        }));
        match crontab.first_from(0) {
            Some(_) => Ok(crontab),
            None => Err(crontab.0.parsed.never(text)),
        }
    }

    /// The expression as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the same times are named.
    pub(crate) fn same_times(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0.parsed, &other.0.parsed);
        self.0.searches == other.0.searches && ours.interval_like == theirs.interval_like
    }

    /// Whether it says a distance rather than times of the day.
    pub(crate) fn interval_like(&self) -> bool {
        self.0.parsed.interval_like
    }

    /// The first local time that is named and not before `from`, both in milliseconds since the epoch as if in UTC.
    /// There is none after the year 2100.
    pub(crate) fn first_from(&self, from: i64) -> Option<i64> {
        // The search looks at what is later by a second and more.
        let second_before = from.div_euclid(1_000) + i64::from(from.rem_euclid(1_000) != 0) - 1;
        let after = DateTime::<Utc>::from_timestamp(second_before, 0)?;
        self.0
            .searches
            .iter()
            .filter_map(|search| search.after(&after).next())
            .map(|found| found.timestamp_millis())
            .min()
    }
}

impl PartialEq for Crontab {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

/// The search wants days that match both of the fields that name them. Where one is enough, two of them look.
fn searches(parsed: &Parsed) -> Vec<cron::Schedule> {
    let dates = numbers(&parsed.days_of_month, Field::DayOfMonth);
    let days = week_days(&parsed.days_of_week);
    let pairs = if parsed.either_day {
        vec![(dates.as_str(), "*"), ("*", days.as_str())]
    } else {
        vec![(dates.as_str(), days.as_str())]
    };
    pairs
        .into_iter()
        .map(|(dates, days)| {
            let text = format!(
                "{} {} {} {dates} {} {days} {}",
                numbers(&parsed.seconds, Field::Second),
                numbers(&parsed.minutes, Field::Minute),
                numbers(&parsed.hours, Field::Hour),
                numbers(&parsed.months, Field::Month),
                numbers(&parsed.years, Field::Year),
            );
            cron::Schedule::from_str(&text)
                .expect("lists of numbers in their ranges are understood")
        })
        .collect()
}

fn numbers(values: &Values, field: Field) -> String {
    if *values == field.all() {
        return "*".to_owned();
    }
    listed(values.iter())
}

/// By their names: the search counts them from 1.
fn week_days(values: &Values) -> String {
    if *values == Field::DayOfWeek.all() {
        return "*".to_owned();
    }
    listed(values.iter().map(|day| DAYS[usize::from(*day)]))
}

fn listed<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    let mut list = String::new();
    for value in values {
        let comma = if list.is_empty() { "" } else { "," };
        write!(list, "{comma}{value}").expect("a String takes all text");
    }
    list
}

impl Parsed {
    /// Why no date is ever meant. Only dates can be the reason: all times of the day occur on each.
    fn never(&self, expression: &str) -> CrontabError {
        let dates = listed(self.days_of_month.iter());
        let months = listed(
            self.months
                .iter()
                .map(|month| MONTHS[usize::from(*month) - 1]),
        );
        let mut reason = format!("day-of-month {dates} never occurs in {months}");
        if self.years != Field::Year.all() {
            write!(reason, " of {}", cited(&listed(self.years.iter())))
                .expect("a String takes all text");
        }
        if self.days_of_week != Field::DayOfWeek.all() {
            write!(reason, " on {}", week_days(&self.days_of_week))
                .expect("a String takes all text");
        }
        CrontabError::new(
            expression,
            self.day_of_month_at,
            Some(Field::DayOfMonth),
            &self.day_of_month_text,
            CrontabProblem::Never { reason },
        )
    }
}
