//! When something occurs: times, the zone they are read in, bounds, and the policies that go with them.

mod search;
mod wire;

use std::fmt;
use std::time::Duration;

use lovage_core::{Millis, span_ms};

use crate::calendar::Exceptions;
use crate::crontab::Crontab;
use crate::error::ScheduleError;
use crate::every::Every;
use crate::policies::{Fold, Gap, Misfire, Overlap};
use crate::solar::{Solar, SolarEvent};
use crate::spans::write_span;
use crate::zone::Zone;

/// When something occurs.
///
/// ```
/// use lovage_beat::Schedule;
/// use lovage_core::Millis;
///
/// let schedule = Schedule::cron("0 9 * * MON-FRI")?
///     .tz("Europe/Lisbon")?
///     .except("2026-12-25")?;
/// // From Thursday noon, over Christmas and a weekend, to Monday at nine.
/// let next = schedule.next_after(Millis::new(1_798_113_600_000));
/// assert_eq!(next, Some(Millis::new(1_798_448_400_000)));
/// # Ok::<(), lovage_beat::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
    zone: Zone,
    starting: Option<Millis>,
    ending: Option<Millis>,
    except: Exceptions,
    jitter: Duration,
    max_runs: Option<u64>,
    misfire: Misfire,
    overlap: Overlap,
    gap: Option<Gap>,
    fold: Option<Fold>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Cron(Crontab),
    Every(Every),
    At(Millis),
    Solar(Solar),
}

impl Schedule {
    /// Occurs at the local times that a crontab expression names: of 5 fields, of 6 with the second first, of 7 with
    /// the year last as well, or a nickname as `@hourly`. Nothing occurs after the year 2100.
    pub fn cron(expression: &str) -> Result<Self, ScheduleError> {
        Ok(Self::of(Kind::Cron(Crontab::parse(expression)?)))
    }

    /// Occurs once each `period`, of 100 ms to 366 days, in whole milliseconds, counted from the Unix epoch or from
    /// where [`anchored`](Self::anchored) says. Clocks that are moved do not change it.
    pub fn every(period: Duration) -> Result<Self, ScheduleError> {
        Ok(Self::of(Kind::Every(Every::new(period)?)))
    }

    /// Occurs once.
    pub fn at(instant: Millis) -> Self {
        Self::of(Kind::At(instant))
    }

    /// Occurs with an event of the sun at a place, given in degrees, north and east positive, to within about two
    /// minutes. Where the sun does not rise or set for a while, so does the schedule not occur. Nothing occurs after
    /// the year 2100.
    pub fn solar(event: SolarEvent, latitude: f64, longitude: f64) -> Result<Self, ScheduleError> {
        Ok(Self::of(Kind::Solar(Solar::new(
            event, latitude, longitude,
        )?)))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            zone: Zone::utc(),
            starting: None,
            ending: None,
            except: Exceptions::default(),
            jitter: Duration::ZERO,
            max_runs: None,
            misfire: Misfire::default(),
            overlap: Overlap::default(),
            gap: None,
            fold: None,
        }
    }

    /// Reads local times and dates in a zone of the IANA database, instead of UTC.
    pub fn tz(mut self, name: &str) -> Result<Self, ScheduleError> {
        self.zone = Zone::named(name)?;
        Ok(self)
    }

    /// Counts the periods of [`every`](Self::every) from an instant on, to both sides of it. Says nothing of other
    /// schedules.
    pub fn anchored(mut self, anchor: Millis) -> Self {
        if let Kind::Every(every) = self.kind {
            self.kind = Kind::Every(every.anchored(anchor));
        }
        self
    }

    /// Nothing occurs before this instant; at it, something may.
    pub fn starting(mut self, instant: Millis) -> Self {
        self.starting = Some(instant);
        self
    }

    /// Nothing occurs after this instant; at it, something may.
    pub fn ending(mut self, instant: Millis) -> Self {
        self.ending = Some(instant);
        self
    }

    /// Nothing occurs on this date, as `2026-12-25`, in the zone of the schedule. At most 1,000 dates can be named.
    pub fn except(mut self, date: &str) -> Result<Self, ScheduleError> {
        self.except.add(date)?;
        Ok(self)
    }

    /// Fires each occurrence later by a part of this span, which follows from the occurrence. Its instant remains what
    /// it is.
    pub fn jitter(mut self, longest: Duration) -> Self {
        self.jitter = longest;
        self
    }

    /// Fires so many occurrences at most.
    pub fn max_runs(mut self, runs: u64) -> Self {
        self.max_runs = Some(runs);
        self
    }

    /// What becomes of occurrences while no beat runs.
    pub fn misfire(mut self, policy: Misfire) -> Self {
        self.misfire = policy;
        self
    }

    /// What becomes of an occurrence while the run of an earlier one goes on.
    pub fn overlap(mut self, policy: Overlap) -> Self {
        self.overlap = policy;
        self
    }

    /// What becomes of local times of a crontab that the clocks jump over.
    pub fn gap(mut self, policy: Gap) -> Self {
        self.gap = Some(policy);
        self
    }

    /// What becomes of local times of a crontab that come twice.
    pub fn fold(mut self, policy: Fold) -> Self {
        self.fold = Some(policy);
        self
    }

    /// The name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.name()
    }

    /// The first instant at which something may occur, if there is one.
    pub fn starts(&self) -> Option<Millis> {
        self.starting
    }

    /// The last instant at which something may occur, if there is one.
    pub fn ends(&self) -> Option<Millis> {
        self.ending
    }

    /// The longest jitter; zero if there is none.
    pub fn jitter_limit(&self) -> Duration {
        self.jitter
    }

    /// How many occurrences are fired at most.
    pub fn max_runs_limit(&self) -> Option<u64> {
        self.max_runs
    }

    /// What becomes of occurrences while no beat runs.
    pub fn misfire_policy(&self) -> Misfire {
        self.misfire
    }

    /// What becomes of an occurrence while the run of an earlier one goes on.
    pub fn overlap_policy(&self) -> Overlap {
        self.overlap
    }

    /// What becomes of local times that the clocks jump over: what was said, or else they shift, unless the hours of
    /// the crontab begin with a star or are all.
    pub fn gap_policy(&self) -> Gap {
        let usual = if self.interval_like() {
            Gap::Skip
        } else {
            Gap::Shift
        };
        self.gap.unwrap_or(usual)
    }

    /// What becomes of local times that come twice: what was said, or else they occur the first time, unless the hours
    /// of the crontab begin with a star or are all.
    pub fn fold_policy(&self) -> Fold {
        let usual = if self.interval_like() {
            Fold::Both
        } else {
            Fold::First
        };
        self.fold.unwrap_or(usual)
    }

    fn interval_like(&self) -> bool {
        matches!(&self.kind, Kind::Cron(crontab) if crontab.interval_like())
    }

    /// Whether both occur at the same instants, as far as their texts tell. Jitter, the number of runs, misfires and
    /// overlaps are no part of that.
    pub fn same_times(&self, other: &Self) -> bool {
        let same_kind = match (&self.kind, &other.kind) {
            (Kind::Cron(a), Kind::Cron(b)) => {
                a.same_times(b)
                    && self.gap_policy() == other.gap_policy()
                    && self.fold_policy() == other.fold_policy()
            }
            (Kind::Every(a), Kind::Every(b)) => a.same_times(b),
            (a, b) => a == b,
        };
        // Other kinds know their instants without a zone, which then only names the dates.
        let zone_counts = matches!(self.kind, Kind::Cron(_)) || self.except.dates().len() != 0;
        same_kind
            && (!zone_counts || self.zone == other.zone)
            && self.starting == other.starting
            && self.ending == other.ending
            && self.except == other.except
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Cron(crontab) => write!(f, "{} in {}", crontab.text(), self.zone.name())?,
            Kind::Every(every) => {
                f.write_str("every ")?;
                write_span(f, span_ms(every.period()))?;
            }
            Kind::At(instant) => write!(f, "once at {}", utc(*instant))?,
            Kind::Solar(solar) => write!(f, "{solar}")?,
        }
        if let Some(starting) = self.starting {
            write!(f, ", from {}", utc(starting))?;
        }
        if let Some(ending) = self.ending {
            write!(f, ", until {}", utc(ending))?;
        }
        match self.except.dates().len() {
            0 => {}
            1 => f.write_str(", except on 1 date")?,
            n => write!(f, ", except on {n} dates")?,
        }
        if self.jitter != Duration::ZERO {
            f.write_str(", up to ")?;
            write_span(f, span_ms(self.jitter))?;
            f.write_str(" late")?;
        }
        match self.max_runs {
            None => Ok(()),
            Some(1) => f.write_str(", 1 run at most"),
            Some(n) => write!(f, ", {n} runs at most"),
        }
    }
}

/// As RFC 3339 says it, or a bare number past the year 9999.
fn utc(instant: Millis) -> String {
    i64::try_from(instant.get())
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| instant.to_string(), |instant| instant.to_string())
}
