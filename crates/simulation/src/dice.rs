//! The one source of chance: all of a run follows from its seed.

use std::ops::Range;
use std::time::Duration;

use lovage_core::ms;

/// A seeded generator.
#[derive(Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The dice of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Dice of their own: what one part of the simulation throws changes nothing for the others.
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Whether something happens that happens so often in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.0.u32(0..1000) < per_mille
    }

    /// A number.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.0.u64(range)
    }

    /// A span of whole milliseconds.
    pub fn span(&mut self, range_ms: Range<u64>) -> Duration {
        ms(self.0.u64(range_ms))
    }

    /// A span of microseconds: what happens is then rarely at the same instant as something else.
    pub fn moment(&mut self, longest: Duration) -> Duration {
        let us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.0.u64(0..=us))
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(0..choices.len())]
    }
}
