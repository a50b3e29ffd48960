//! Why a schedule was refused.

use std::time::Duration;

use crate::calendar::EXCEPT_MAX;
use crate::crontab::CrontabError;
use crate::every::{PERIOD_MAX, PERIOD_MIN};

/// Why a schedule, or a part of it, was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A crontab expression cannot be read.
    #[error(transparent)]
    Crontab(#[from] CrontabError),
    /// There is no such time zone here.
    #[error("there is no time zone {name:?}{}",
        near.as_ref().map_or_else(|| "; use a name of the IANA database, as Europe/Lisbon".to_owned(), |near| format!("; did you mean {near}?")))]
    Zone {
        /// The refused name.
        name: String,
        /// A name that differs little.
        near: Option<String>,
    },
    /// A period is too short or too long.
    #[error("a period of {period:?} is not between {PERIOD_MIN:?} and {} days", PERIOD_MAX.as_secs() / 86_400)]
    Period {
        /// The refused period.
        period: Duration,
    },
    /// A period has parts of a millisecond.
    #[error("a period of {period:?} has parts of a millisecond; use whole ones")]
    PeriodParts {
        /// The refused period.
        period: Duration,
    },
    /// There is no such place on Earth.
    #[error("{what} {degrees} is not between -{limit} and {limit} degrees")]
    Coordinate {
        /// `latitude` or `longitude`.
        what: &'static str,
        /// The refused value.
        degrees: f64,
        /// The largest one.
        limit: f64,
    },
    /// A text is no date.
    #[error("{text:?} is no date; write year, month and day, as in 2026-12-25")]
    Date {
        /// The refused text.
        text: String,
    },
    /// Too many dates are excepted.
    #[error(
        "more than {EXCEPT_MAX} dates are excepted; say the others by the days of the crontab expression"
    )]
    TooManyDates,
    /// A policy or an event has no such name.
    #[error("{what} {text:?} is unknown; use {allowed}")]
    Word {
        /// Which kind of word.
        what: &'static str,
        /// The refused text.
        text: String,
        /// What can be said instead.
        allowed: &'static str,
    },
    /// A stored schedule lacks its times, or has several kinds of them.
    #[error("a schedule has one of cron, every, at and solar, and this one has {count}")]
    Kinds {
        /// How many it has.
        count: usize,
    },
    /// A stored schedule lacks a part that belongs to its kind.
    #[error("a schedule of the sun has {what}")]
    Missing {
        /// The name of the part.
        what: &'static str,
    },
}

/// Longer texts are cut where an error cites them.
const CITED_CHARS_MAX: usize = 60;

impl ScheduleError {
    pub(crate) fn word(what: &'static str, text: &str, allowed: &'static str) -> Self {
        Self::Word {
            what,
            text: cited(text),
            allowed,
        }
    }
}

/// The first characters of `text`.
pub(crate) fn cited(text: &str) -> String {
    let mut cited: String = text.chars().take(CITED_CHARS_MAX).collect();
    if cited.len() < text.len() {
        cited.push('…');
    }
    cited
}
