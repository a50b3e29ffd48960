//! Finds the occurrences of a schedule.

use lovage_core::Millis;

use super::{Kind, Schedule};
use crate::crontab::Crontab;
use crate::policies::{Fold, Gap};
use crate::zone::{MOVED_MAX_MS, Zone};

/// 2101-01-03T00:00:00Z: where the year 2100 has ended on all clocks.
const END: i64 = 4_134_067_200_000;

impl Schedule {
    /// The first occurrence after an instant; `None` if there is none any more.
    ///
    /// It follows from the schedule alone, and the time it takes is bounded.
    pub fn next_after(&self, instant: Millis) -> Option<Millis> {
        self.first_from(signed(instant) + 1).map(millis)
    }

    /// The last occurrence that is not after an instant; `None` if there was none yet.
    pub fn last_until(&self, instant: Millis) -> Option<Millis> {
        let until = signed(instant).min(self.ending.map_or(i64::MAX, signed));
        let floor = self.starting.map_or(0, signed);
        let found = |from: i64| self.first_from(from).filter(|at| *at <= until);
        // Looks back twice as far each time until something is found.
        let mut high = until + 1;
        let mut step = 1_000;
        let mut last = loop {
            let low = high.saturating_sub(step).max(floor);
            match found(low) {
                Some(at) => break at,
                None if low <= floor => return None,
                None => (high, step) = (low, step * 2),
            }
        };
        // Nothing is found from `high` on. Between it and what was found, half is left each time.
        while last + 1 < high {
            let middle = (last + 1).midpoint(high);
            match found(middle) {
                Some(at) => last = at,
                None => high = middle,
            }
        }
        Some(millis(last))
    }

    /// The first occurrence that is not before `from`.
    fn first_from(&self, from: i64) -> Option<i64> {
        let from = from.max(self.starting.map_or(0, signed));
        let ending = self.ending.map_or(i64::MAX, signed);
        self.except.first_from(&self.zone, from, |from| {
            self.kind_first_from(from).filter(|at| *at <= ending)
        })
    }

    fn kind_first_from(&self, from: i64) -> Option<i64> {
        match &self.kind {
            Kind::Cron(crontab) => Clock {
                crontab,
                zone: &self.zone,
                gap: self.gap_policy(),
                fold: self.fold_policy(),
            }
            .first_from(from),
            Kind::Every(every) => every.first_from(from.unsigned_abs()).map(signed_ms),
            Kind::At(instant) => Some(signed(*instant)).filter(|at| from <= *at),
            Kind::Solar(solar) => solar.first_from(from).filter(|at| *at < END),
        }
    }
}

/// The local times of a crontab on the clocks of a zone.
struct Clock<'a> {
    crontab: &'a Crontab,
    zone: &'a Zone,
    gap: Gap,
    fold: Fold,
}

impl Clock<'_> {
    fn first_from(&self, from: i64) -> Option<i64> {
        let mut from = from;
        let mut segment = self.zone.segment(from);
        // Each turn ends one segment at least, and a zone has some hundreds of them.
        while from < END {
            let mut local = from + segment.offset;
            let mut shifted = None;
            if let Some(start) = segment.start {
                let (old, new) = (start + segment.before, start + segment.offset);
                if new < old && self.fold == Fold::First {
                    // Up to here the clocks have shown these times already.
                    local = local.max(old);
                }
                if old < new && self.gap == Gap::Shift {
                    shifted = self
                        .crontab
                        .first_from(from.max(start) + segment.before)
                        .filter(|skipped| *skipped < new)
                        .map(|skipped| skipped - segment.before);
                }
            }
            let natural = self.crontab.first_from(local);
            let shown = natural.map(|local| local - segment.offset);
            let first = [shown, shifted].into_iter().flatten().min();
            if let Some(at) = first.filter(|at| *at < segment.end) {
                return Some(at);
            }
            let next = self.zone.segment(segment.end);
            from = segment.end;
            // Where clocks are put back, times come again that are behind `natural`. Elsewhere nothing is named before
            // it, so that whole years can be left out, less what clocks may differ.
            if segment.offset <= next.offset {
                from = from.max(natural?.saturating_sub(MOVED_MAX_MS));
            }
            segment = if from == segment.end {
                next
            } else {
                self.zone.segment(from)
            };
        }
        None
    }
}

fn signed(instant: Millis) -> i64 {
    // What was stored may be larger than what can be made here.
    signed_ms(instant.get().min(Millis::MAX.get()))
}

fn signed_ms(ms: u64) -> i64 {
    i64::try_from(ms).expect("instants are below 2^53 ms")
}

fn millis(ms: i64) -> Millis {
    Millis::new(u64::try_from(ms).expect("no search begins before the epoch"))
}
