//! Which queue to claim from, and how much: as many as have a slot, and a few more where runs are short.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lovage_core::{Broker, BrokerError, Lane, QueueName, ms, secs};
use tokio::time::Instant;

use crate::lanes::{LANES, NARROWEST_FIRST, index};
use crate::settler::Ledger;
use crate::tenure::{Seat, Tenure};
use crate::trouble::Trouble;

/// What waits for a slot is about what finishes within this.
const BUFFER_SPAN: Duration = ms(5);
/// The most deliveries that wait for a slot, in all lanes together.
pub(crate) const BUFFER_MAX: usize = 1_000;
/// The longest wait for the bell; then the queue is claimed from once, in case a wake-up was lost.
pub(crate) const WAIT_MAX: Duration = secs(5);
/// A lane that has not been seen among this many deliveries is no longer what the queue is claimed for.
const LANE_MEMORY: u32 = 200;

/// What the pump knows of one queue.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) weight: u32,
    pub(crate) seat: Arc<Seat>,
    pub(crate) tenure: Option<Arc<Tenure>>,
    pub(crate) pace: Pace,
    pub(crate) lanes: LaneGuess,
    pub(crate) ledger: Ledger,
    /// When verdicts that linger are to go, where nothing else sends them.
    pub(crate) linger_ends: Option<Instant>,
    pub(crate) trouble: Trouble,
    /// There may be something to claim.
    pub(crate) hungry: bool,
    /// The last claim brought all it asked for: another may go before its answer is there.
    pub(crate) rich: bool,
    /// When the next scheduled task is due.
    pub(crate) due: Option<Instant>,
    pub(crate) bell: Bell,
    /// Of the bell alone: claims may work all the same.
    pub(crate) bell_trouble: Trouble,
    /// How many exchanges are under way; at most two.
    pub(crate) under_way: usize,
    /// The numbers of those that claim.
    pub(crate) claims: Vec<u64>,
    /// How many exchanges have begun.
    pub(crate) exchanges: u64,
    /// Deliveries of the present identity in the table.
    pub(crate) held: usize,
    /// Answers in a row whose count differed from ours.
    pub(crate) mismatches: u32,
    pub(crate) suspects: crate::reconcile::Suspects,
}

impl Queue {
    pub(crate) fn new(name: QueueName, weight: u32, seat: Arc<Seat>, lane: Lane) -> Self {
        let (trouble, bell_trouble) = (seat.uncounted_trouble(), seat.uncounted_trouble());
        Self {
            name,
            weight,
            seat,
            tenure: None,
            pace: Pace::default(),
            lanes: LaneGuess::new(lane),
            ledger: Ledger::default(),
            linger_ends: None,
            trouble,
            hungry: true,
            rich: false,
            due: None,
            bell: Bell::default(),
            bell_trouble,
            under_way: 0,
            claims: Vec::new(),
            exchanges: 0,
            held: 0,
            mismatches: 0,
            suspects: crate::reconcile::Suspects::default(),
        }
    }

    /// Notes that a claim or a settlement failed.
    pub(crate) fn failed(&mut self, verb: &'static str, error: &BrokerError) {
        self.trouble.failed(&self.name, verb, error);
        if matches!(error, BrokerError::Unknown(_)) {
            self.seat.ask_comparison();
        }
    }

    /// Whether this is the present identity.
    pub(crate) fn is_under(&self, tenure: &Arc<Tenure>) -> bool {
        self.tenure
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, tenure))
    }

    /// Notes what a claim brought.
    pub(crate) fn fed(&mut self, asked: usize, brought: usize, next_due: Option<Duration>) {
        self.rich = asked <= brought;
        self.hungry = self.rich;
        // Half a millisecond for what the broker's whole milliseconds cut off: an early claim would find nothing.
        self.due = next_due.map(|span| Instant::now() + span + Duration::from_micros(500));
    }
}

/// The order in which queues are claimed from in one round.
pub(crate) fn order(queues: &[Queue], weighted: bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..queues.len()).collect();
    if weighted && 1 < places.len() {
        // Each place goes to a queue by its weight among those left (Efraimidis and Spirakis, 2006: keys u^(1/w)).
        let keys: Vec<f64> = queues
            .iter()
            .map(|queue| fastrand::f64().powf(1.0 / f64::from(queue.weight)))
            .collect();
        places.sort_by(|a, b| keys[*b].total_cmp(&keys[*a]));
    }
    places
}

/// How long runs of a queue take, from their start to when the pump hears of their end.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    seconds: Option<f64>,
}

impl Pace {
    /// Counts a run. A tenth of the weight is its own: one long run among short ones ends the buffer at once, and
    /// some forty short ones bring it back.
    pub(crate) fn ran(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.seconds = Some(match self.seconds {
            None => took,
            Some(seconds) => seconds + 0.1 * (took - seconds),
        });
    }

    /// Forgets that runs were short: what waited for a slot waited too long.
    pub(crate) fn is_slow(&mut self) {
        self.seconds = Some(BUFFER_SPAN.as_secs_f64());
    }

    /// How many deliveries may wait where `slots` run at once. None before the first run has ended.
    pub(crate) fn buffer(&self, slots: usize) -> usize {
        let span = BUFFER_SPAN.as_secs_f64();
        match self.seconds {
            Some(seconds) if seconds < span => {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an estimate of at most a thousand; a float cast saturates"
                )]
                let ends = (slots as f64 * span / seconds) as usize;
                ends.min(BUFFER_MAX)
            }
            _ => 0,
        }
    }
}

/// Which lane's free slots a queue is claimed for: the narrowest that its tasks run on.
#[derive(Debug)]
pub(crate) struct LaneGuess {
    lane: Lane,
    unseen: [u32; LANES],
}

impl LaneGuess {
    pub(crate) fn new(lane: Lane) -> Self {
        Self {
            lane,
            unseen: [LANE_MEMORY; LANES],
        }
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Notes the lane of a delivery that came.
    pub(crate) fn came(&mut self, lane: Lane) {
        if self.lane == lane && self.unseen[index(lane)] == 0 {
            return;
        }
        for unseen in &mut self.unseen {
            *unseen = unseen.saturating_add(1);
        }
        self.unseen[index(lane)] = 0;
        let seen = |lane: &&Lane| self.unseen[index(**lane)] < LANE_MEMORY;
        if let Some(narrowest) = NARROWEST_FIRST.iter().find(seen) {
            self.lane = *narrowest;
        }
    }
}

/// A wait for something to claim.
#[derive(Default)]
pub(crate) struct Bell(Option<BoxFuture<'static, Result<(), BrokerError>>>);

impl Bell {
    pub(crate) fn listen<B: Broker>(&mut self, broker: &B, queue: &QueueName) {
        if self.0.is_none() {
            let (broker, queue) = (broker.clone(), queue.clone());
            self.0 = Some(Box::pin(async move { broker.wait(&queue, WAIT_MAX).await }));
        }
    }

    /// Stops listening: the wake-up goes to a worker that has a slot.
    pub(crate) fn hang_up(&mut self) {
        self.0 = None;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokerError>> {
        let Some(wait) = &mut self.0 else {
            return Poll::Pending;
        };
        let rung = Pin::new(wait).poll(cx);
        if rung.is_ready() {
            self.0 = None;
        }
        rung
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_runs_have_a_buffer() {
        for (run_ms, slots, expected) in [(5, 100, 0), (1_000, 100, 0), (1, 100, 500), (2, 4, 10)] {
            let mut pace = Pace::default();
            assert_eq!(pace.buffer(slots), 0, "nothing is known yet");
            pace.ran(ms(run_ms));
            assert_eq!(pace.buffer(slots), expected, "{run_ms} ms on {slots} slots");
        }
        let mut pace = Pace::default();
        pace.ran(Duration::from_nanos(1));
        assert_eq!(pace.buffer(100), BUFFER_MAX);
    }

    #[test]
    fn one_long_run_ends_the_buffer() {
        let mut pace = Pace::default();
        pace.ran(Duration::from_micros(20));
        pace.ran(secs(1));
        assert_eq!(pace.buffer(100), 0);
    }

    #[test]
    fn a_queue_is_claimed_for_its_narrowest_lane_until_that_is_long_gone() {
        let mut guess = LaneGuess::new(Lane::Async);
        guess.came(Lane::Async);
        guess.came(Lane::Cpu);
        guess.came(Lane::Async);
        assert_eq!(guess.lane(), Lane::Cpu);
        for _ in 0..LANE_MEMORY {
            guess.came(Lane::Async);
        }
        assert_eq!(guess.lane(), Lane::Async);
    }

    #[test]
    fn weights_decide_how_often_a_queue_comes_first() {
        let queue = |name, weight| {
            let name = QueueName::parse(name).unwrap();
            let seat = Arc::new(Seat::new(name.clone(), &Arc::default()));
            Queue::new(name, weight, seat, Lane::Async)
        };
        let queues = [queue("mail", 3), queue("default", 1)];
        fastrand::seed(7);
        let first = (0..10_000).filter(|_| order(&queues, true)[0] == 0).count();
        assert!((7_200..7_800).contains(&first), "{first} of 10,000");
        assert_eq!(order(&queues, false), [0, 1]);
    }
}
