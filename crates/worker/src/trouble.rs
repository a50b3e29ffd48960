//! A broker that does not work: left alone for a growing while, and said once a worker, however many loops meet it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lovage_core::{BrokerError, QueueName, ms, secs};
use tokio::time::Instant;

/// The first pause after an error.
const PAUSE_MIN: Duration = ms(50);
/// The longest: a broker that answers again is used again within it.
const PAUSE_MAX: Duration = secs(2);

/// So many failures in a row of a loop that is not counted are said, unless an outage explains them.
const ALONE_AFTER: u32 = 10;

/// The shortest span within which the loops of a worker meet one outage.
const MET_WITHIN_MIN: Duration = secs(30);
/// The same as a part of the lease: they ask each third of it, or somewhat later, and wait as long for an answer.
const MET_WITHIN_PART: f64 = 0.75;

/// The outages that one worker's loops wait out: those loops that ask the broker again and again whatever the worker
/// does, as others may not come to find that it works again. The first to meet one says so, and the last to leave it.
///
/// A loop that comes to fail later than the others has another one to tell of: of a cluster one node may have been away
/// before all are.
#[derive(Debug)]
pub(crate) struct Outages {
    met_within: Duration,
    /// Since when each lasts, and who waits it out.
    present: Mutex<Vec<(Instant, Weak<Outage>)>>,
}

/// One of them, held by each loop that waits it out.
#[derive(Debug)]
struct Outage;

impl Outages {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            met_within: lease.mul_f64(MET_WITHIN_PART).max(MET_WITHIN_MIN),
            present: Mutex::default(),
        }
    }

    /// The outage that a loop has met now, and whether it is the first.
    fn meet(&self) -> (Arc<Outage>, bool) {
        let mut present = self.present();
        present.retain(|(_, outage)| 0 < outage.strong_count());
        let newest = present.last();
        // An old one is not touched: its last loop must find that it is the last.
        let newest = newest.filter(|(began, _)| began.elapsed() <= self.met_within);
        if let Some(outage) = newest.and_then(|(_, outage)| outage.upgrade()) {
            return (outage, false);
        }
        let outage = Arc::new(Outage);
        present.push((Instant::now(), Arc::downgrade(&outage)));
        (outage, true)
    }

    /// How many loops wait.
    fn waiting(&self) -> usize {
        let present = self.present();
        present
            .iter()
            .map(|(_, outage)| outage.strong_count())
            .sum()
    }

    fn present(&self) -> MutexGuard<'_, Vec<(Instant, Weak<Outage>)>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the broker answers one loop of one queue, and how long to leave it alone.
#[derive(Debug)]
pub(crate) struct Trouble {
    outages: Arc<Outages>,
    is_counted: bool,
    kind: Option<Kind>,
    met: Option<Arc<Outage>>,
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
    pub(crate) fn new(outages: &Arc<Outages>) -> Self {
        Self {
            outages: Arc::clone(outages),
            is_counted: true,
            kind: None,
            met: None,
            failures: 0,
            until: None,
        }
    }

    /// None yet, of a loop that asks only now and then: `outages` are said by others.
    pub(crate) fn uncounted(outages: &Arc<Outages>) -> Self {
        let mut trouble = Self::new(outages);
        trouble.is_counted = false;
        trouble
    }

    pub(crate) fn failed(&mut self, queue: &QueueName, verb: &'static str, error: &BrokerError) {
        self.pause();
        let is_refused = matches!(error, BrokerError::Misconfigured(_));
        if is_refused && self.kind != Some(Kind::Refused) {
            self.change(Some(Kind::Refused));
            tracing::error!(%queue, verb, %error, "the broker refuses; trying again until somebody acts");
        } else if !is_refused && matches!(self.kind, None | Some(Kind::Refused)) {
            if self.change(Some(Kind::Away)) {
                tracing::warn!(%queue, verb, %error, "the broker does not work; trying again");
            } else {
                tracing::debug!(%queue, verb, %error, "the broker does not work here");
            }
        } else if self.kind == Some(Kind::Away)
            && !self.is_counted
            && ALONE_AFTER <= self.failures
            && self.outages.waiting() == 0
        {
            self.kind = Some(Kind::Alone);
            tracing::warn!(%queue, verb, %error, "not done for long; trying again");
        }
    }

    /// Changes what is wrong, and answers whether that begins or ends an outage.
    fn change(&mut self, kind: Option<Kind>) -> bool {
        self.kind = kind;
        let is_away = self.is_counted && kind == Some(Kind::Away);
        match self.met.take() {
            None if is_away => {
                let (met, is_new) = self.outages.meet();
                self.met = Some(met);
                is_new
            }
            Some(met) if !is_away => Arc::into_inner(met).is_some(),
            met => {
                self.met = met;
                false
            }
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
            Some(Kind::Away) if ends_outage => tracing::info!(%queue, "the broker works again"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::TransportError;

    impl Default for Outages {
        fn default() -> Self {
            Self::new(Duration::ZERO)
        }
    }

    #[test]
    fn an_outage_lasts_until_the_last_loop_is_served_again() {
        let outages = Arc::new(Outages::new(secs(80)));
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let mut loops: Vec<Trouble> = (0..5).map(|_| Trouble::new(&outages)).collect();
        for trouble in &mut loops {
            for _ in 0..3 {
                trouble.failed(&queue, "claim", &away);
            }
        }
        assert_eq!(outages.waiting(), 5);
        loops.pop();
        for (left, trouble) in loops.iter_mut().enumerate() {
            assert_eq!(outages.waiting(), 4 - left);
            trouble.worked(&queue);
            trouble.worked(&queue);
            assert!(trouble.is_none());
        }
        assert_eq!(outages.waiting(), 0);
        let wrong = BrokerError::Misconfigured(TransportError::new("WRONGTYPE"));
        loops[0].failed(&queue, "claim", &wrong);
        assert_eq!(outages.waiting(), 0, "it is told by itself");
    }

    #[test]
    fn a_loop_that_may_never_ask_again_neither_begins_an_outage_nor_keeps_it_going() {
        let outages = Arc::new(Outages::new(secs(80)));
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let mut bell = Trouble::uncounted(&outages);
        let mut renewals = Trouble::new(&outages);
        for _ in 0..2 {
            bell.failed(&queue, "wait", &away);
            assert_eq!(outages.waiting(), 0);
            renewals.failed(&queue, "renew", &away);
            assert_eq!(outages.waiting(), 1);
            renewals.worked(&queue);
            assert_eq!(outages.waiting(), 0);
        }
    }

    #[test]
    fn a_loop_that_alone_goes_on_failing_is_told_once_no_outage_explains_it() {
        let outages = Arc::new(Outages::new(secs(80)));
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let (mut claims, mut renewals) = (Trouble::uncounted(&outages), Trouble::new(&outages));
        renewals.failed(&queue, "renew", &away);
        for _ in 0..ALONE_AFTER {
            claims.failed(&queue, "claim", &away);
        }
        assert_eq!(claims.kind, Some(Kind::Away));
        renewals.worked(&queue);
        claims.failed(&queue, "claim", &away);
        assert_eq!(claims.kind, Some(Kind::Alone));
        claims.worked(&queue);
        assert_eq!((claims.kind, outages.waiting()), (None, 0));
    }

    #[test]
    fn a_broker_that_is_back_and_refuses_is_told_as_refusing() {
        let outages = Arc::new(Outages::new(secs(80)));
        let queue = QueueName::parse("mail").unwrap();
        let away = BrokerError::Refused(TransportError::new("away"));
        let wrong = BrokerError::Misconfigured(TransportError::new("NOPERM"));
        let mut renewals = Trouble::new(&outages);
        renewals.failed(&queue, "renew", &away);
        renewals.failed(&queue, "renew", &wrong);
        assert_eq!((renewals.kind, outages.waiting()), (Some(Kind::Refused), 0));
        renewals.failed(&queue, "renew", &away);
        assert_eq!((renewals.kind, outages.waiting()), (Some(Kind::Away), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_all_is_told_though_one_loop_has_failed_for_long() {
        let outages = Arc::new(Outages::new(secs(80)));
        let mut of_dead_node = Trouble::new(&outages);
        let mut others: Vec<Trouble> = (0..3).map(|_| Trouble::new(&outages)).collect();
        assert!(of_dead_node.change(Some(Kind::Away)));
        for _ in 0..2 {
            tokio::time::advance(secs(61)).await;
            let mut told = Vec::new();
            for own in &mut others {
                told.push(own.change(Some(Kind::Away)));
                tokio::time::advance(secs(20)).await;
            }
            assert_eq!(told, [true, false, false]);
            let told: Vec<_> = others.iter_mut().map(|own| own.change(None)).collect();
            assert_eq!(told, [false, false, true]);
        }
        assert!(of_dead_node.change(None));
    }
}
