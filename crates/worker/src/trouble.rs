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

/// So many failures in a row of a loop that is not counted are said, unless an outage explains them.
const ALONE_AFTER: u32 = 10;

/// How many loops of one worker wait for its broker: of those that ask it again and again whatever the worker does, as
/// others may not come to find that it works again. The first says that it is away, and the last that it is back.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicUsize);

impl Outage {
    /// Whether it is the first.
    fn enter(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Whether it was the last.
    fn leave(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 1
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Whether the broker answers one loop of one queue, and how long to leave it alone.
#[derive(Debug)]
pub(crate) struct Trouble {
    outage: Arc<Outage>,
    is_counted: bool,
    kind: Option<Kind>,
    failures: u32,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All of the broker is away, as a rule.
    Away,
    /// The same, and it was said of this loop by itself.
    Alone,
    /// This verb of this queue, and somebody must act.
    Refused,
}

impl Trouble {
    /// None yet, of a loop that always runs.
    pub(crate) fn new(outage: &Arc<Outage>) -> Self {
        Self {
            outage: Arc::clone(outage),
            is_counted: true,
            kind: None,
            failures: 0,
            until: None,
        }
    }

    /// None yet, of a loop that asks only now and then: `outage` is said by others.
    pub(crate) fn uncounted(outage: &Arc<Outage>) -> Self {
        let mut trouble = Self::new(outage);
        trouble.is_counted = false;
        trouble
    }

    pub(crate) fn failed(&mut self, queue: &QueueName, verb: &'static str, error: &BrokerError) {
        self.pause();
        let is_refused = matches!(error, BrokerError::Misconfigured(_));
        if is_refused && self.kind != Some(Kind::Refused) {
            self.change(Some(Kind::Refused));
            tracing::error!(%queue, verb, %error, "the broker refuses; trying again until it is mended");
        } else if !is_refused && matches!(self.kind, None | Some(Kind::Refused)) {
            if self.change(Some(Kind::Away)) {
                tracing::warn!(%queue, verb, %error, "the broker does not work; trying again");
            } else {
                tracing::debug!(%queue, verb, %error, "the broker does not work here");
            }
        } else if self.kind == Some(Kind::Away)
            && !self.is_counted
            && ALONE_AFTER <= self.failures
            && !self.outage.is_on()
        {
            self.kind = Some(Kind::Alone);
            tracing::warn!(%queue, verb, %error, "not done for long; trying again");
        }
    }

    /// Changes what is wrong, and answers whether that begins or ends the outage.
    fn change(&mut self, kind: Option<Kind>) -> bool {
        let before = std::mem::replace(&mut self.kind, kind);
        let is_away = |kind| self.is_counted && kind == Some(Kind::Away);
        match (is_away(before), is_away(kind)) {
            (false, true) => self.outage.enter(),
            (true, false) => self.outage.leave(),
            _ => false,
        }
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
        let before = self.kind;
        let ends_outage = self.change(None);
        match before {
            Some(Kind::Away) if ends_outage => tracing::info!("the broker works again"),
            Some(Kind::Away) => tracing::debug!(%queue, failures, "the broker works here again"),
            Some(Kind::Alone) => tracing::info!(%queue, failures, "it is done again"),
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
        self.change(None);
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

    #[test]
    fn a_loop_that_may_never_ask_again_neither_begins_an_outage_nor_keeps_it_going() {
        let outage = Arc::new(Outage::default());
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let mut bell = Trouble::uncounted(&outage);
        let mut renewals = Trouble::new(&outage);
        for _ in 0..2 {
            bell.failed(&queue, "wait", &away);
            assert!(!outage.is_on());
            renewals.failed(&queue, "renew", &away);
            assert!(outage.is_on());
            renewals.worked(&queue);
            assert!(!outage.is_on());
        }
    }

    #[test]
    fn a_loop_that_alone_goes_on_failing_is_told_once_no_outage_explains_it() {
        let outage = Arc::new(Outage::default());
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let (mut claims, mut renewals) = (Trouble::uncounted(&outage), Trouble::new(&outage));
        renewals.failed(&queue, "renew", &away);
        for _ in 0..ALONE_AFTER {
            claims.failed(&queue, "claim", &away);
        }
        assert_eq!(claims.kind, Some(Kind::Away));
        renewals.worked(&queue);
        claims.failed(&queue, "claim", &away);
        assert_eq!(claims.kind, Some(Kind::Alone));
        claims.worked(&queue);
        assert_eq!((claims.kind, outage.is_on()), (None, false));
    }

    #[test]
    fn a_broker_that_is_back_and_refuses_is_told_as_refusing() {
        let outage = Arc::new(Outage::default());
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let wrong = BrokerError::Misconfigured(TransportError::new("NOPERM"));
        let mut renewals = Trouble::new(&outage);
        renewals.failed(&queue, "renew", &away);
        renewals.failed(&queue, "renew", &wrong);
        assert_eq!(
            (renewals.kind, outage.is_on()),
            (Some(Kind::Refused), false)
        );
        renewals.failed(&queue, "renew", &away);
        assert_eq!((renewals.kind, outage.is_on()), (Some(Kind::Away), true));
    }
}
