//! A broker that does not work: left alone for a growing while, and said once a worker, however many loops meet it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lovage_core::{BrokerError, QueueName, ms, secs};
use tokio::time::Instant;

/// The first pause after an error.
const PAUSE_MIN: Duration = ms(50);
/// The longest: a broker that answers again is used again within it.
const PAUSE_MAX: Duration = secs(2);

/// How many loops of one worker wait for its broker. The first says that it is away, and the last that it is back.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicUsize);

impl Outage {
    fn is_begun(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn is_over(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Whether the broker answers one loop of one queue, and how long to leave it alone.
#[derive(Debug)]
pub(crate) struct Trouble {
    outage: Arc<Outage>,
    kind: Option<Kind>,
    failures: u32,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All of the broker is away, as a rule: it is counted in the outage.
    Away,
    /// This verb of this queue, and somebody must act.
    Refused,
}

impl Trouble {
    /// None yet.
    pub(crate) fn new(outage: &Arc<Outage>) -> Self {
        Self {
            outage: Arc::clone(outage),
            kind: None,
            failures: 0,
            until: None,
        }
    }

    pub(crate) fn failed(&mut self, queue: &QueueName, verb: &'static str, error: &BrokerError) {
        if self.kind.is_none() {
            let kind = match error {
                BrokerError::Misconfigured(_) => Kind::Refused,
                _ => Kind::Away,
            };
            self.kind = Some(kind);
            if kind == Kind::Refused {
                tracing::error!(%queue, verb, %error, "the broker refuses; trying again until it is mended");
            } else if self.outage.is_begun() {
                tracing::warn!(%queue, verb, %error, "the broker does not work; trying again");
            } else {
                tracing::debug!(%queue, verb, %error, "the broker does not work here either");
            }
        }
        self.pause();
    }

    /// Leaves the broker alone for a while, a longer one each time.
    pub(crate) fn pause(&mut self) {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        // A whole fleet loses its broker at once and must not come back at once.
        self.until = Some(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    pub(crate) fn worked(&mut self, queue: &QueueName) {
        let failures = std::mem::take(&mut self.failures);
        self.until = None;
        match self.kind.take() {
            Some(Kind::Away) if self.outage.is_over() => {
                tracing::info!("the broker works again");
            }
            Some(Kind::Away) => tracing::debug!(%queue, failures, "the broker works here again"),
            Some(Kind::Refused) => tracing::info!(%queue, failures, "the broker takes it again"),
            None => {}
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.failures == 0
    }

    /// Waits until the broker may be tried again.
    pub(crate) async fn wait(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Until when to leave it alone, if it still is to be.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if self.kind == Some(Kind::Away) {
            self.outage.is_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::TransportError;

    #[test]
    fn an_outage_lasts_until_the_last_loop_is_served_again() {
        let outage = Arc::new(Outage::default());
        let begun = || outage.0.load(Ordering::Relaxed);
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let mut loops: Vec<Trouble> = (0..5).map(|_| Trouble::new(&outage)).collect();
        for trouble in &mut loops {
            for _ in 0..3 {
                trouble.failed(&queue, "claim", &away);
            }
        }
        assert_eq!(begun(), 5);
        loops.pop();
        for (left, trouble) in loops.iter_mut().enumerate() {
            assert_eq!(begun(), 4 - left);
            trouble.worked(&queue);
            trouble.worked(&queue);
            assert!(trouble.is_none());
        }
        assert_eq!(begun(), 0);
        let wrong = BrokerError::Misconfigured(TransportError::new("WRONGTYPE"));
        loops[0].failed(&queue, "claim", &wrong);
        assert_eq!(begun(), 0, "it is told by itself");
    }
}
