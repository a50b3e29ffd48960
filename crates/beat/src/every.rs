//! Occurrences at a fixed distance.

use std::time::Duration;

use lovage_core::Millis;

use crate::error::ScheduleError;

/// The shortest period.
pub const PERIOD_MIN: Duration = Duration::from_millis(100);
/// The longest period.
pub const PERIOD_MAX: Duration = Duration::from_hours(366 * 24);

/// All instants `anchor + k·period` since the Unix epoch, those before the anchor among them: the anchor says the
/// phase, and each instant follows from it alone, so that nothing drifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every {
    /// In milliseconds, of [`PERIOD_MIN`] to [`PERIOD_MAX`].
    period: u64,
    anchor: Millis,
}

impl Every {
    pub(crate) fn new(period: Duration) -> Result<Self, ScheduleError> {
        if period < PERIOD_MIN || PERIOD_MAX < period {
            return Err(ScheduleError::Period { period });
        }
        if !period.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(ScheduleError::PeriodParts { period });
        }
        let period =
            u64::try_from(period.as_millis()).expect("PERIOD_MAX is far below u64::MAX ms");
        Ok(Self {
            period,
            anchor: Millis::new(0),
        })
    }

    pub(crate) fn anchored(self, anchor: Millis) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_millis(self.period)
    }

    pub(crate) fn anchor(&self) -> Millis {
        self.anchor
    }

    /// Whether the instants are the same ones.
    pub(crate) fn same_times(&self, other: &Self) -> bool {
        self.period == other.period && self.phase() == other.phase()
    }

    /// The first instant since the epoch.
    fn phase(&self) -> u64 {
        self.anchor.get() % self.period
    }

    /// The first instant that is not before `from`. All numbers are far below 2^54.
    pub(crate) fn first_from(&self, from: u64) -> Option<u64> {
        let phase = self.phase();
        let steps = from.saturating_sub(phase).div_ceil(self.period);
        Some(phase + steps * self.period).filter(|at| *at <= Millis::MAX.get())
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::ms;

    use super::*;

    #[test]
    fn instants_lie_at_whole_periods_from_the_anchor_on_both_sides() {
        let every = Every::new(ms(1_000)).unwrap().anchored(Millis::new(10_300));
        for (from, first) in [
            (0, 300),
            (300, 300),
            (301, 1_300),
            (10_299, 10_300),
            (10_300, 10_300),
            (10_301, 11_300),
        ] {
            assert_eq!(every.first_from(from), Some(first), "from {from}");
        }
    }

    #[test]
    fn instants_end_with_the_last_one_there_is() {
        let end = Millis::MAX.get();
        let every = Every::new(PERIOD_MAX).unwrap().anchored(Millis::MAX);
        assert_eq!(every.first_from(end), Some(end));
        assert_eq!(every.first_from(end + 1), None);
    }

    #[test]
    fn periods_out_of_bounds_are_refused() {
        for (period, part) in [
            (ms(99), "99ms is not between 100ms and 366 days"),
            (PERIOD_MAX + ms(1), "is not between"),
            (Duration::MAX, "is not between"),
            (
                Duration::from_micros(100_500),
                "100.5ms has parts of a millisecond",
            ),
        ] {
            let error = Every::new(period).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
