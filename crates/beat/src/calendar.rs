//! Dates on which a schedule does not occur.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::error::{ScheduleError, cited};
use crate::zone::Zone;

/// The most dates that a schedule excepts: thirty years of twelve holidays are 360.
pub const EXCEPT_MAX: usize = 1_000;

/// Dates in the zone of a schedule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Exceptions(BTreeSet<Date>);

impl Exceptions {
    pub(crate) fn add(&mut self, text: &str) -> Result<(), ScheduleError> {
        let refused = || ScheduleError::Date { text: cited(text) };
        let trimmed = text.trim();
        // Only this form: other ones that the library reads have a time or a zone, which would be dropped.
        let shaped = trimmed.len() == 10
            && trimmed.bytes().enumerate().all(|(i, byte)| match i {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date = trimmed
            .parse()
            .ok()
            .filter(|_| shaped)
            .ok_or_else(refused)?;
        self.0.insert(date);
        if EXCEPT_MAX < self.0.len() {
            return Err(ScheduleError::TooManyDates);
        }
        Ok(())
    }

    pub(crate) fn dates(&self) -> impl ExactSizeIterator<Item = &Date> {
        self.0.iter()
    }

    /// The first of the occurrences that `first_from` finds from an instant on whose date is not excepted.
    pub(crate) fn first_from(
        &self,
        zone: &Zone,
        from: i64,
        first_from: impl Fn(i64) -> Option<i64>,
    ) -> Option<i64> {
        let mut found = first_from(from)?;
        // A date is left for good after at most three steps: clocks may be put back across its end once.
        for _ in 0..=3 * self.0.len() {
            let Some(date) = zone.date(found).filter(|date| self.0.contains(date)) else {
                return Some(found);
            };
            found = first_from(zone.end_of(date, found)?)?;
        }
        None
    }
}
