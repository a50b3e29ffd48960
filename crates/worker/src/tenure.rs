//! An identity and how long it may count on its lease: written by the lease thread, read by everybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lovage_core::{QueueName, WorkerId};
use lovage_process::Monotonic;
use tokio::sync::Notify;

use crate::trouble::{Outages, Trouble};

/// One identity in one queue.
///
/// Its deadline is counted by this process's own monotonic clock from when the last successful renewal was *sent*, so
/// it never lies behind the broker's. That clock stands still while a virtual machine is suspended: a worker that wakes
/// from that takes its lease for good until the next renewal, and only the fence refuses its late answers.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) worker: WorkerId,
    clock: Monotonic,
    since: Instant,
    good_for_ns: AtomicU64,
    lost: AtomicBool,
}

impl Tenure {
    pub(crate) fn new(worker: WorkerId, good_until: Instant, clock: Monotonic) -> Self {
        let tenure = Self {
            worker,
            clock,
            since: clock.now(),
            good_for_ns: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        };
        tenure.extend(good_until);
        tenure
    }

    pub(crate) fn extend(&self, good_until: Instant) {
        let span = good_until.saturating_duration_since(self.since);
        let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.good_for_ns.fetch_max(ns, Ordering::SeqCst);
    }

    /// Whether a body may start and an answer may be sent at `now`.
    pub(crate) fn is_good(&self, now: Instant) -> bool {
        !self.is_lost()
            && now.saturating_duration_since(self.since)
                < Duration::from_nanos(self.good_for_ns.load(Ordering::Relaxed))
    }

    /// Whether a body may start and an answer may be sent now.
    pub(crate) fn is_good_now(&self) -> bool {
        self.is_good(self.clock.now())
    }

    /// How much longer a body may start.
    #[cfg(unix)]
    pub(crate) fn good_for(&self) -> Duration {
        if self.is_lost() {
            return Duration::ZERO;
        }
        let spent = self.clock.now().saturating_duration_since(self.since);
        Duration::from_nanos(self.good_for_ns.load(Ordering::Relaxed)).saturating_sub(spent)
    }

    /// Whether the identity is dead for good: its tasks belong to others.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }
}

/// A queue's place for the present identity, and what is asked of the lease thread.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) queue: QueueName,
    tenure: Mutex<Option<Arc<Tenure>>>,
    compare: AtomicBool,
    asked: Notify,
    callbacks: Notify,
    outages: Arc<Outages>,
}

impl Seat {
    pub(crate) fn new(queue: QueueName, outages: &Arc<Outages>) -> Self {
        Self {
            queue,
            tenure: Mutex::new(None),
            compare: AtomicBool::new(false),
            asked: Notify::new(),
            callbacks: Notify::new(),
            outages: Arc::clone(outages),
        }
    }

    /// What a loop of this queue that always runs keeps of how it gets on with the broker.
    pub(crate) fn trouble(&self) -> Trouble {
        Trouble::new(&self.outages)
    }

    /// The same of a loop that asks only where there is something for it.
    pub(crate) fn uncounted_trouble(&self) -> Trouble {
        Trouble::uncounted(&self.outages)
    }

    pub(crate) fn tenure(&self) -> Option<Arc<Tenure>> {
        let tenure = self.tenure.lock().unwrap_or_else(PoisonError::into_inner);
        tenure.clone()
    }

    pub(crate) fn take_place(&self, tenure: Arc<Tenure>) {
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) = Some(tenure);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.tenure().is_some_and(|tenure| tenure.is_good_now())
    }

    /// Asks for a renewal now: the broker did not take us for a member.
    pub(crate) fn ask_renewal(&self) {
        self.asked.notify_one();
    }

    /// Asks for the callbacks that are owed to be sent.
    pub(crate) fn ask_callbacks(&self) {
        self.callbacks.notify_one();
    }

    pub(crate) async fn callbacks_asked(&self) {
        self.callbacks.notified().await;
    }

    /// Asks for the ids that the broker thinks we hold: an answer was lost, or the counts differ.
    pub(crate) fn ask_comparison(&self) {
        self.compare.store(true, Ordering::SeqCst);
        self.asked.notify_one();
    }

    /// Asks for the same at the next renewal: the broker could not say.
    pub(crate) fn put_off_comparison(&self) {
        self.compare.store(true, Ordering::SeqCst);
    }

    pub(crate) fn take_comparison(&self) -> bool {
        self.compare.swap(false, Ordering::SeqCst)
    }

    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use lovage_core::secs;

    #[test]
    fn a_tenure_is_good_until_its_deadline_and_again_after_a_renewal() {
        let now = Instant::now();
        let tenure = Tenure::new(WorkerId::random(), now + secs(10), Monotonic::default());
        assert!(tenure.is_good(now + secs(9)));
        assert!(!tenure.is_good(now + secs(10)));
        tenure.extend(now + secs(20));
        assert!(tenure.is_good(now + secs(19)));
        tenure.lose();
        assert!(!tenure.is_good(now), "a lost identity is dead for good");
    }

    #[test]
    fn a_comparison_that_failed_waits_for_the_next_renewal_and_asks_for_none() {
        let seat = Seat::new(QueueName::parse("mail").unwrap(), &Arc::default());
        seat.ask_comparison();
        assert!(
            seat.asked().now_or_never().is_some(),
            "a lost answer renews now"
        );
        assert!(seat.take_comparison());

        seat.put_off_comparison();
        assert!(seat.asked().now_or_never().is_none());
        assert!(seat.take_comparison());
    }
}
