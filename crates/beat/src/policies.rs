//! What becomes of occurrences that nobody could fire in time, that meet a run that goes on, or that a change of
//! clocks removes or doubles.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lovage_core::span_ms;

use crate::error::ScheduleError;
use crate::spans::{parse_span, write_span};

/// What becomes of the occurrences that came due while no beat ran.
///
/// As text: `skip`, `once`, `all`, `within 1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Misfire {
    /// None is fired, but the last one where only the lead changed hands meanwhile.
    Skip,
    /// The last one is fired, in place of all.
    #[default]
    Once,
    /// Each is fired.
    All,
    /// Each is fired that is not older than this span.
    Within(Duration),
}

/// What becomes of an occurrence while the run of an earlier one goes on.
///
/// As text: `allow`, `skip`, `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Overlap {
    /// It is fired.
    #[default]
    Allow,
    /// It is not fired.
    Skip,
    /// One waits for the end of the run.
    Queue,
}

/// What becomes of a local time that the clocks jump over.
///
/// As text: `shift`, `skip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// It occurs later by the length of the jump: at the instant that a clock which was not moved shows it.
    Shift,
    /// It does not occur.
    Skip,
}

/// What becomes of a local time that comes twice.
///
/// As text: `first`, `both`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// It occurs once, the first time.
    First,
    /// It occurs both times.
    Both,
}

impl FromStr for Misfire {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        const ALLOWED: &str = "skip, once, all, or within and a span, as in within 1h";
        let trimmed = text.trim();
        match trimmed {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All),
            _ => trimmed
                .strip_prefix("within ")
                .and_then(parse_span)
                .map(Self::Within)
                .ok_or_else(|| ScheduleError::word("misfire", text, ALLOWED)),
        }
    }
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Once => f.write_str("once"),
            Self::All => f.write_str("all"),
            Self::Within(span) => {
                f.write_str("within ")?;
                write_span(f, span_ms(*span))
            }
        }
    }
}

/// Reads and writes the words of an enum.
macro_rules! words {
    ($type:ident, $what:literal, $allowed:literal, $($variant:ident = $word:literal),+) => {
        impl FromStr for $type {
            type Err = ScheduleError;

            fn from_str(text: &str) -> Result<Self, ScheduleError> {
                match text.trim() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ScheduleError::word($what, text, $allowed)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}
pub(crate) use words;

words!(
    Overlap,
    "overlap",
    "allow, skip or queue",
    Allow = "allow",
    Skip = "skip",
    Queue = "queue"
);
words!(Gap, "gap", "shift or skip", Shift = "shift", Skip = "skip");
words!(
    Fold,
    "fold",
    "first or both",
    First = "first",
    Both = "both"
);
