//! How often and how late a failed task runs again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{hours, secs, span_ms};

/// The span before a further attempt, by the number of attempts made.
///
/// ```
/// use lovage_core::{Backoff, mins, secs};
///
/// let backoff = Backoff::exponential(secs(1)).cap(mins(10)).jitter(0.0);
/// assert_eq!(backoff.delay(1, 0.0), secs(1));
/// assert_eq!(backoff.delay(4, 0.0), secs(8));
/// assert_eq!(backoff.delay(60, 0.0), mins(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    shape: Shape,
    cap: Duration,
    jitter: f64,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Constant(Duration),
    Linear(Duration),
    Exponential(Duration),
    Custom(fn(u32) -> Duration),
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b))
            | (Self::Linear(a), Self::Linear(b))
            | (Self::Exponential(a), Self::Exponential(b)) => a == b,
            (Self::Custom(a), Self::Custom(b)) => std::ptr::fn_addr_eq(*a, *b),
            _ => false,
        }
    }
}

impl Backoff {
    /// No delay is longer, whatever the attempt, unless [`Backoff::cap`] says so: a task must not be forgotten.
    pub const CAP_DEFAULT: Duration = hours(1);

    /// Always `span`, without jitter.
    pub const fn constant(span: Duration) -> Self {
        Self::shaped(Shape::Constant(span), 0.0)
    }

    /// `step`, twice `step`, three times `step`, …
    pub const fn linear(step: Duration) -> Self {
        Self::shaped(Shape::Linear(step), 0.5)
    }

    /// `first`, then twice as long each time.
    pub const fn exponential(first: Duration) -> Self {
        Self::shaped(Shape::Exponential(first), 0.5)
    }

    /// Whatever `delay` says for the number of attempts made (1 after the first). It stays in the program: a
    /// message carries no function, so the worker uses its own task's.
    pub const fn custom(delay: fn(u32) -> Duration) -> Self {
        Self::shaped(Shape::Custom(delay), 0.0)
    }

    const fn shaped(shape: Shape, jitter: f64) -> Self {
        Self {
            shape,
            cap: Self::CAP_DEFAULT,
            jitter,
        }
    }

    /// Makes no delay longer than `longest`.
    pub const fn cap(mut self, longest: Duration) -> Self {
        self.cap = longest;
        self
    }

    /// Shortens each delay by a random part of up to `part` (0 to 1) of it, so that tasks that failed together
    /// do not come back together. 1 is the "full jitter" of the AWS Architecture Blog's
    /// "Exponential Backoff And Jitter" (2015). Linear and exponential backoff start with 0.5.
    pub const fn jitter(mut self, part: f64) -> Self {
        self.jitter = part.clamp(0.0, 1.0);
        self
    }

    /// Whether it is a function, which stays in this program.
    pub const fn is_custom(&self) -> bool {
        matches!(self.shape, Shape::Custom(_))
    }

    /// The delay after `attempts` attempts; `random` in 0 to 1 decides the jitter.
    pub fn delay(&self, attempts: u32, random: f64) -> Duration {
        let attempts = attempts.max(1);
        let whole = match self.shape {
            Shape::Constant(span) => span,
            Shape::Linear(step) => step.saturating_mul(attempts),
            Shape::Exponential(first) => {
                first.saturating_mul(1u32.checked_shl(attempts - 1).unwrap_or(u32::MAX))
            }
            Shape::Custom(delay) => delay(attempts),
        };
        whole
            .min(self.cap)
            .mul_f64(1.0 - self.jitter * random.clamp(0.0, 1.0))
    }
}

impl Default for Backoff {
    /// Exponential from one second to ten minutes, with jitter.
    fn default() -> Self {
        Self::exponential(secs(1)).cap(secs(600))
    }
}

/// How a backoff travels in an envelope; a custom one does not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WireBackoff {
    #[serde(rename = "k")]
    shape: WireShape,
    #[serde(rename = "b")]
    base_ms: u64,
    #[serde(rename = "c")]
    cap_ms: u64,
    #[serde(rename = "j")]
    jitter: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum WireShape {
    #[serde(rename = "c")]
    Constant,
    #[serde(rename = "l")]
    Linear,
    #[serde(rename = "e")]
    Exponential,
}

impl WireBackoff {
    pub(crate) fn of(backoff: &Backoff) -> Option<Self> {
        let (shape, base) = match backoff.shape {
            Shape::Constant(span) => (WireShape::Constant, span),
            Shape::Linear(step) => (WireShape::Linear, step),
            Shape::Exponential(first) => (WireShape::Exponential, first),
            Shape::Custom(_) => return None,
        };
        Some(Self {
            shape,
            base_ms: span_ms(base),
            cap_ms: span_ms(backoff.cap),
            jitter: backoff.jitter,
        })
    }
}

impl From<WireBackoff> for Backoff {
    fn from(wire: WireBackoff) -> Self {
        let base = Duration::from_millis(wire.base_ms);
        let shape = match wire.shape {
            WireShape::Constant => Shape::Constant(base),
            WireShape::Linear => Shape::Linear(base),
            WireShape::Exponential => Shape::Exponential(base),
        };
        let jitter = if wire.jitter.is_finite() {
            wire.jitter.clamp(0.0, 1.0)
        } else {
            0.0
        };
        Self {
            shape,
            cap: Duration::from_millis(wire.cap_ms),
            jitter,
        }
    }
}

/// How many further attempts a failed task has, and how they are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first; 0 means one attempt.
    pub max_retries: u32,
    /// The spans between them.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    /// Three retries, as in Celery.
    fn default() -> Self {
        Self {
            max_retries: 3,
            backoff: Backoff::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{mins, ms};

    #[test]
    fn delays_grow_by_their_shape_up_to_the_cap() {
        let linear = Backoff::linear(secs(2)).cap(secs(5));
        let exponential = Backoff::exponential(ms(500)).cap(mins(1));
        let custom = Backoff::custom(|attempts| secs(u64::from(attempts) * 7)).cap(secs(20));
        for (backoff, attempts, expected) in [
            (Backoff::constant(secs(3)), 1, secs(3)),
            (Backoff::constant(secs(3)), 90, secs(3)),
            (linear, 1, secs(2)),
            (linear, 2, secs(4)),
            (linear, 3, secs(5)),
            (exponential, 0, ms(500)),
            (exponential, 1, ms(500)),
            (exponential, 3, secs(2)),
            (exponential, u32::MAX, mins(1)),
            (custom, 2, secs(14)),
            (custom, 3, secs(20)),
        ] {
            assert_eq!(
                backoff.delay(attempts, 0.0),
                expected,
                "{backoff:?} after {attempts}"
            );
        }
    }

    #[test]
    fn jitter_only_shortens() {
        let backoff = Backoff::constant(secs(10)).jitter(0.5);
        assert_eq!(backoff.delay(1, 0.0), secs(10));
        assert_eq!(backoff.delay(1, 1.0), secs(5));
        assert_eq!(
            Backoff::constant(secs(10)).jitter(9.0).delay(1, 1.0),
            Duration::ZERO
        );
    }
}
