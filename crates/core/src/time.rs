//! Instants as the wire has them, and the one place that reads a clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An instant in milliseconds since the Unix epoch, at most [`Millis::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// The last instant that a sorted set's score and a Lua number hold exactly: 2^53 - 1, in the year 287396.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The instant `ms` milliseconds after the epoch; later ones than [`Millis::MAX`] become it.
    pub const fn new(ms: u64) -> Self {
        if ms < Self::MAX.0 {
            Self(ms)
        } else {
            Self::MAX
        }
    }

    /// Milliseconds since the epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The instant `span` later, at most [`Millis::MAX`]. Parts of a millisecond count as a whole one, so that
    /// nothing starts early.
    pub fn plus(self, span: Duration) -> Self {
        Self::new(self.0.saturating_add(span_ms(span)))
    }

    /// The span since `earlier`; zero if that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Millis {
    /// Instants before the epoch become the epoch: due at once.
    fn from(time: SystemTime) -> Self {
        Self::new(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span in whole milliseconds, rounded up, at most [`Millis::MAX`]: as the wire has it.
pub fn span_ms(span: Duration) -> u64 {
    let ms = span.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(u64::MAX).min(Millis::MAX.0)
}

/// `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` minutes.
pub const fn mins(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// `n` hours.
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// Where an instant comes from: the host's clock, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The host's wall clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

impl Clock {
    /// The present instant.
    pub fn now(&self) -> Millis {
        match self {
            Self::System => Millis::from(SystemTime::now()),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// A clock for tests; clones share one instant.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn starting_at(start: Millis) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// The instant it stands at.
    pub fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span_ms(span), Ordering::SeqCst);
    }

    /// Sets the clock, back as well: as somebody sets that of a host.
    pub fn set(&self, instant: Millis) {
        self.0.store(instant.get(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock at a fixed instant in 2001, far from zero and from today.
    fn default() -> Self {
        Self::starting_at(Millis::new(1_000_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_up_and_saturate() {
        for (span, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (ms(1), 1),
            (Duration::from_micros(1_001), 2),
            (Duration::MAX, Millis::MAX.get()),
        ] {
            assert_eq!(span_ms(span), expected, "{span:?}");
        }
        assert_eq!(Millis::MAX.plus(Duration::MAX), Millis::MAX);
    }
}
