//! Verdicts that wait for the broker: gathered a queue, sent together with the next claim, kept until they are answered.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, OptionFuture};
use lovage_core::{
    Ack, BATCH_MAX, Broker, BrokerError, Claim, Lane, Outcome, QueueName, Settled, Settlement,
    Verdict, ms,
};
use tokio::time::Instant;

use crate::held::Place;
use crate::tenure::Tenure;

/// How long a verdict that nothing hangs on waits for others: to settle one takes as many commands as to settle many.
/// What a killed worker has done within it is done again.
const LINGER: Duration = ms(20);
/// So many need not wait for more.
const COMPANY: usize = 64;

/// The most bytes of outcomes in one call, but for a single one of more: what takes long to send is cut off by the
/// limit of a call.
const OUTCOME_BYTES_MAX: usize = 8 << 20;
/// A batch that got no answer is halved for the next call, down to one or two.
const HALVINGS_MAX: u32 = 9;

/// A settlement and the place of its delivery.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) place: Place,
    pub(crate) settlement: Settlement,
}

/// The verdicts of one queue that are not on their way. Bounded by what a worker may hold.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    outgoing: Vec<Outgoing>,
    /// When the oldest came, if all may linger.
    lingers_since: Option<Instant>,
    /// The last settlement failed.
    failed: bool,
    /// How often the size of a batch is halved: once for each call without an answer, less one for each with one.
    halvings: u32,
}

impl Ledger {
    pub(crate) fn push(&mut self, outgoing: Outgoing, ack: Ack) {
        if !may_linger(&outgoing.settlement.verdict, ack) {
            self.lingers_since = None;
        } else if self.outgoing.is_empty() {
            self.lingers_since = Some(Instant::now());
        }
        self.outgoing.push(outgoing);
    }

    /// Until when these few may wait for company; `None` where they are to go now.
    pub(crate) fn lingers_until(&self, now: Instant) -> Option<Instant> {
        let until = self.lingers_since? + LINGER;
        (now < until && self.outgoing.len() < COMPANY).then_some(until)
    }

    /// Takes the oldest, as many as one call may carry: of each task one, since what is answered as stale is named by its id
    /// alone. A task has two where it was given back, perhaps twice, claimed again at once, and is done.
    pub(crate) fn take(&mut self) -> Vec<Outgoing> {
        self.lingers_since = None;
        let (mut bytes, mut ids) = (0, HashSet::new());
        let fits = |outgoing: &&Outgoing| {
            bytes += outcome_bytes(&outgoing.settlement.verdict);
            bytes <= OUTCOME_BYTES_MAX && ids.insert(outgoing.settlement.id)
        };
        let oldest = self.outgoing.iter().take(BATCH_MAX >> self.halvings);
        let count = oldest.take_while(fits).count().max(1);
        if self.outgoing.len() <= count {
            return std::mem::take(&mut self.outgoing);
        }
        let later = self.outgoing.split_off(count);
        std::mem::replace(&mut self.outgoing, later)
    }

    /// Puts back what may not have arrived: to settle again is safe, what is settled already is answered as stale.
    pub(crate) fn put_back(&mut self, mut outgoing: Vec<Outgoing>) {
        outgoing.append(&mut self.outgoing);
        self.outgoing = outgoing;
        self.lingers_since = None;
    }

    /// Notes that a settlement was answered.
    pub(crate) fn worked(&mut self) {
        self.failed = false;
        self.halvings = self.halvings.saturating_sub(1);
    }

    /// Notes that a settlement was not.
    pub(crate) fn failed(&mut self, error: &BrokerError) {
        self.failed = true;
        if matches!(error, BrokerError::Unknown(_)) {
            self.halvings = HALVINGS_MAX.min(self.halvings + 1);
        }
    }

    /// Whether verdicts come faster than the broker takes them: what is claimed meanwhile would only add to them, and
    /// all of it runs again if the worker is lost.
    pub(crate) fn is_stuck(&self) -> bool {
        (self.failed && !self.outgoing.is_empty()) || BATCH_MAX <= self.outgoing.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes all, since the identity they would be signed with is dead.
    pub(crate) fn drain(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }
}

/// Whether nothing but the task's own end hangs on it: no result, no next attempt, no other worker. An at-most-once
/// task would be buried as perhaps half done if its worker were killed meanwhile.
fn may_linger(verdict: &Verdict, ack: Ack) -> bool {
    matches!(verdict, Verdict::Done { keep: None, .. }) && ack == Ack::Late
}

/// What an outcome adds to a call, about.
fn outcome_bytes(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Done {
            outcome: Outcome::Done(value),
            ..
        } => value.len(),
        Verdict::Done {
            outcome: Outcome::Failed(failure),
            ..
        }
        | Verdict::Bury(failure) => {
            let backtrace = failure.run.as_ref().and_then(|run| run.backtrace.as_ref());
            failure.message.len()
                + failure.causes.iter().map(String::len).sum::<usize>()
                + backtrace.map_or(0, String::len)
        }
        _ => 0,
    }
}

/// One round trip of a queue: what to settle, and how many to claim.
pub(crate) struct Exchange {
    pub(crate) queue: usize,
    pub(crate) number: u64,
    pub(crate) tenure: Arc<Tenure>,
    /// No claim of it was made before.
    pub(crate) began: Instant,
    pub(crate) settle: Vec<Outgoing>,
    /// Whose free slots the claim is for.
    pub(crate) lane: Lane,
    pub(crate) claim: Option<NonZeroU16>,
}

/// What came of an exchange.
pub(crate) struct Reply {
    pub(crate) exchange: Exchange,
    pub(crate) settled: Option<Result<Settled, BrokerError>>,
    pub(crate) claimed: Option<Result<Claim, BrokerError>>,
}

impl Exchange {
    /// Settles and claims at once: the settlement is written first, so the slots it frees count for the claim.
    ///
    /// Driven to its end whatever else happens: a claim that is dropped leaves tasks held that nobody has seen.
    pub(crate) fn drive<B: Broker>(self, broker: B, queue: QueueName) -> BoxFuture<'static, Reply> {
        Box::pin(async move {
            let worker = self.tenure.worker;
            let settlements: Vec<_> = self
                .settle
                .iter()
                .map(|out| out.settlement.clone())
                .collect();
            let settle =
                (!settlements.is_empty()).then(|| broker.settle(worker, &queue, settlements));
            let claim = self.claim.map(|max| broker.claim(worker, &queue, max));
            let (settled, claimed) =
                tokio::join!(OptionFuture::from(settle), OptionFuture::from(claim));
            Reply {
                exchange: self,
                settled,
                claimed,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::{Fence, Millis, TaskId, TransportError, secs};

    fn done(keep: Option<Duration>) -> Outgoing {
        Outgoing {
            place: 0,
            settlement: Settlement {
                id: TaskId::random(),
                fence: Fence {
                    number: 1,
                    claimed_at: Millis::default(),
                },
                verdict: Verdict::Done {
                    outcome: Outcome::Done(bytes::Bytes::new()),
                    keep,
                },
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nothing_hangs_on_lingers_for_a_while_or_until_it_has_company() {
        let mut ledger = Ledger::default();
        ledger.push(done(None), Ack::Late);
        let ends = ledger.lingers_until(Instant::now());
        assert_eq!(ends, Some(Instant::now() + LINGER));
        tokio::time::advance(LINGER).await;
        assert_eq!(ledger.lingers_until(Instant::now()), None);

        assert_eq!(ledger.take().len(), 1);
        for _ in 1..COMPANY {
            ledger.push(done(None), Ack::Late);
            assert!(ledger.lingers_until(Instant::now()).is_some());
        }
        ledger.push(done(None), Ack::Late);
        assert_eq!(ledger.lingers_until(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_or_an_at_most_once_task_takes_the_lingering_along() {
        for (outgoing, ack) in [(done(Some(secs(1))), Ack::Late), (done(None), Ack::Early)] {
            let mut ledger = Ledger::default();
            ledger.push(done(None), Ack::Late);
            ledger.push(outgoing, ack);
            ledger.push(done(None), Ack::Late);
            assert_eq!(ledger.lingers_until(Instant::now()), None);
        }
    }

    fn ledger(outcomes: &[usize]) -> Ledger {
        let mut ledger = Ledger::default();
        for bytes in outcomes {
            let mut outgoing = done(None);
            outgoing.settlement.verdict = Verdict::Done {
                outcome: Outcome::Done(vec![0; *bytes].into()),
                keep: None,
            };
            ledger.push(outgoing, Ack::Late);
        }
        ledger
    }

    #[test]
    fn a_call_carries_a_bounded_number_of_bytes_and_at_least_one_settlement() {
        const MIB: usize = 1 << 20;
        let mut ledger = ledger(&[3 * MIB, 5 * MIB, 1, 9 * MIB, 1]);
        let taken: Vec<_> = (0..4).map(|_| ledger.take().len()).collect();
        assert_eq!(taken, [2, 1, 1, 1]);
        assert!(ledger.take().is_empty());
    }

    #[test]
    fn a_call_carries_one_verdict_on_each_task() {
        let (given_back, mut done) = (done(None), done(None));
        done.settlement.id = given_back.settlement.id;
        done.settlement.fence.number = 2;
        let mut ledger = ledger(&[1]);
        for outgoing in [given_back, done] {
            ledger.push(outgoing, Ack::Late);
        }
        let taken: Vec<_> = (0..2).map(|_| ledger.take()).collect();
        assert_eq!(taken[0].len(), 2);
        assert_eq!(taken[1].len(), 1);
        assert_eq!(taken[1][0].settlement.fence.number, 2);
    }

    #[test]
    fn a_batch_without_an_answer_is_halved_until_there_are_answers_again() {
        let mut ledger = ledger(&[0; 2 * BATCH_MAX]);
        let lost = || BrokerError::Unknown(TransportError::new("no answer"));
        for expected in [1000, 500, 250] {
            let taken = ledger.take();
            assert_eq!(taken.len(), expected);
            ledger.put_back(taken);
            ledger.failed(&lost());
        }
        ledger.worked();
        assert_eq!(ledger.take().len(), 250);
        for _ in 0..50 {
            ledger.failed(&lost());
        }
        assert_eq!(ledger.take().len(), 1);
    }
}
