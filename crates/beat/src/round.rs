//! One round of a leader: what it has read is planned, and the broker changed accordingly, in batches.

use std::time::Duration;

use lovage_core::{
    Amended, BrokerError, Inspect, Millis, QueueName, Schedules, StoredSchedule, Tick,
};
use tokio::time::Instant;

use crate::draft::{Draft, batches};
use crate::forwarder::Forwarder;
use crate::known::Known;
use crate::liveness::{self, Lives};
use crate::plan::Previous;
use crate::putoff::{Cause, PutOff};
use crate::state::{Record, RecordError};
use crate::stats::Shared;
use crate::ticker::RENEWALS;
use crate::trouble::{Trouble, bounded};

/// The lead as it was at a look.
pub(crate) struct Held {
    /// The instant of the look, by the broker's clock.
    pub(crate) now: Millis,
    pub(crate) epoch: u64,
    /// The same instant by this host's monotonic clock, as nearly as can be told.
    pub(crate) made: Instant,
    /// From then on another beat may lead.
    pub(crate) good_until: Instant,
    /// What the broker may take for a change.
    call_max: Duration,
}

impl Held {
    /// The lead by an answer that has just come.
    pub(crate) fn since(asked: Instant, lease: Duration, tick: &Tick) -> Self {
        // Less a tenth: the broker's clock and ours may drift apart a little.
        let margin = (lease / 10).min(Duration::from_secs(1));
        Self {
            now: tick.now,
            epoch: tick.epoch,
            made: asked + asked.elapsed() / 2,
            good_until: asked + lease.saturating_sub(margin),
            call_max: lease / RENEWALS,
        }
    }

    fn is_good(&self) -> bool {
        Instant::now() < self.good_until
    }
}

/// What came of a round.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) fired: u64,
    pub(crate) skipped: u64,
    /// The earliest instant at which a schedule of this round must be looked at again.
    pub(crate) soonest: Option<Millis>,
    /// How late the first occurrence was of those that were dealt with.
    pub(crate) behind: Duration,
    /// Whether to look again at once.
    pub(crate) again: bool,
    /// Whether the lead might have ended before anything was changed.
    pub(crate) too_much: bool,
    /// The calls that changed something.
    calls: u32,
    /// Whether another leads.
    pub(crate) deposed: bool,
    /// Schedules that were refused by themselves.
    refused_alone: u32,
    /// The broker did not work: how long to leave it alone.
    pub(crate) trouble: Option<Duration>,
}

/// With more that are refused by themselves in one round, it is the broker that does not work.
const ALONE_MAX: u32 = 3;

/// The drafts that are made without letting others run.
const DRAFTS_IN_A_ROW: usize = 32;

/// A schedule that cannot be dealt with now.
struct Refusal {
    stored: StoredSchedule,
    cause: Cause,
    message: String,
}

/// One round.
pub(crate) struct Round<'a, B> {
    pub(crate) broker: &'a B,
    pub(crate) held: &'a Held,
    pub(crate) shared: &'a Shared,
    pub(crate) forwarder: Forwarder<B>,
    pub(crate) put_off: &'a mut PutOff,
    pub(crate) known: &'a mut Known,
    pub(crate) trouble: &'a mut Trouble,
}

impl<B: Schedules + Inspect> Round<'_, B> {
    pub(crate) async fn run(mut self, tick: Tick) -> Tried {
        let mut tried = Tried::default();
        if tick.due.is_empty() {
            return tried;
        }
        let read: Vec<(StoredSchedule, Result<Record, RecordError>)> = tick
            .due
            .into_iter()
            .map(|stored| {
                let record = self.known.read(&stored);
                (stored, record)
            })
            .collect();
        let records = read.iter().filter_map(|(_, record)| record.as_ref().ok());
        let mut lives = liveness::look(self.broker, records, &tick.outboxes).await;
        let mut drafts = Vec::with_capacity(read.len());
        for (n, (stored, record)) in read.into_iter().enumerate() {
            // After weeks without a beat each takes milliseconds, and others want the thread as well.
            if n % DRAFTS_IN_A_ROW == DRAFTS_IN_A_ROW - 1 {
                tokio::task::yield_now().await;
            }
            drafts.push(self.draft(stored, record, &mut lives));
        }
        let refused = self.amend_all(drafts, &mut tried).await;
        // What is not taken is looked at later, with what has become of it by then.
        let moves = refused
            .into_iter()
            .map(|refusal| self.later(refusal.stored, refusal.cause, &refusal.message))
            .collect();
        self.amend_all(moves, &mut tried).await;
        tried
    }

    fn draft(
        &mut self,
        stored: StoredSchedule,
        record: Result<Record, RecordError>,
        lives: &mut Lives,
    ) -> Draft {
        let record = match record {
            Ok(record) => record,
            Err(error) => return self.later(stored, Cause::Unreadable, &error.to_string()),
        };
        let previous = match lives.remove(&stored.name) {
            Some(Ok(previous)) => previous,
            Some(Err(error)) => {
                self.shared.error();
                let message = format!("whether its last run lives is not known: {error}");
                return self.later(stored, Cause::Unknown, &message);
            }
            None => Previous::Ended,
        };
        match Draft::of(stored.clone(), record, self.held.now, previous) {
            Ok(draft) => draft,
            Err(error) => self.later(stored, Cause::Unreadable, &error.to_string()),
        }
    }

    /// Puts a schedule off.
    fn later(&mut self, stored: StoredSchedule, cause: Cause, message: &str) -> Draft {
        let now = self.held.now;
        let (pause, is_news) = self.put_off.put(&stored.name, stored.version, cause, now);
        if is_news && matches!(cause, Cause::Unreadable | Cause::Refused) {
            tracing::error!(
                schedule = %stored.name, version = stored.version, error = message,
                "a schedule cannot be fired; looking at it again from time to time"
            );
        } else if is_news {
            tracing::warn!(schedule = %stored.name, reason = message, "a schedule has to wait");
        }
        Draft::looking_again(stored, now.plus(pause))
    }

    /// Makes changes. Answers those that cannot be made now.
    async fn amend_all(&mut self, drafts: Vec<Draft>, tried: &mut Tried) -> Vec<Refusal> {
        let mut refused = Vec::new();
        let mut batches = batches(drafts, |draft| &draft.amendment);
        batches.reverse();
        while let Some(batch) = batches.pop() {
            if tried.deposed || tried.trouble.is_some() {
                break;
            }
            if !self.held.is_good() {
                // A process that was frozen wakes up here: what it has read is old.
                (tried.again, tried.too_much) = (true, tried.calls == 0);
                break;
            }
            if let Some(mut parts) = self.amend(batch, tried, &mut refused).await {
                parts.reverse();
                batches.append(&mut parts);
            }
        }
        refused
    }

    /// Makes the changes of one call. Answers in which parts to try them again where something in them is refused.
    async fn amend(
        &mut self,
        mut batch: Vec<Draft>,
        tried: &mut Tried,
        refused: &mut Vec<Refusal>,
    ) -> Option<Vec<Vec<Draft>>> {
        let amendments = batch.iter().map(|draft| draft.amendment.clone()).collect();
        let call = self.broker.amend(Some(self.held.epoch), amendments);
        let answers = match bounded(self.held.call_max, call).await {
            Ok(answers) => {
                self.trouble.worked();
                tried.calls += 1;
                answers
            }
            // Whatever somebody has to mend may be of one schedule alone, as a key of a wrong type. The others go on.
            Err(error @ BrokerError::Misconfigured(_)) if tried.refused_alone < ALONE_MAX => {
                self.shared.error();
                if 1 < batch.len() {
                    let half = batch.split_off(batch.len() / 2);
                    return Some(vec![batch, half]);
                }
                tried.refused_alone += 1;
                refused.extend(batch.into_iter().map(|draft| Refusal {
                    stored: draft.stored,
                    cause: Cause::Refused,
                    message: error.to_string(),
                }));
                return None;
            }
            Err(error) => {
                // Whatever part was made: the versions tell at the next look.
                self.shared.error();
                tried.trouble = Some(self.trouble.failed("amend", &error));
                return None;
            }
        };
        let mut queues: Vec<QueueName> = Vec::new();
        for (draft, answer) in batch.into_iter().zip(answers) {
            match answer {
                Amended::Done(version) => self.done(draft, version, tried, &mut queues),
                // Somebody has changed it meanwhile, or a lost answer was of this very change.
                Amended::Conflict => tried.again = true,
                Amended::OutboxFull(queue) => refused.push(Refusal {
                    stored: draft.stored,
                    cause: Cause::OutboxFull,
                    message: format!("the outbox of queue {queue} is full"),
                }),
                Amended::Deposed => tried.deposed = true,
            }
        }
        for queue in queues {
            self.forwarder.kick(queue);
        }
        None
    }

    fn done(&mut self, draft: Draft, version: u64, tried: &mut Tried, queues: &mut Vec<QueueName>) {
        let name = &draft.amendment.name;
        let bytes = draft.stored.record.len();
        match &draft.record {
            None => self.put_off.stored(name, version),
            Some(_) if self.put_off.done(name) => {
                tracing::info!(schedule = %name, "a schedule that had to wait goes on");
            }
            Some(_) => {}
        }
        if let Some(wake) = draft.wake() {
            tried.soonest = Some(tried.soonest.map_or(wake, |soonest| soonest.min(wake)));
        }
        let fired = u64::try_from(draft.amendment.sends.len()).unwrap_or(u64::MAX);
        tried.fired += fired;
        tried.skipped += draft.skipped;
        tried.behind = tried.behind.max(draft.behind);
        for (queue, task) in draft.amendment.sends {
            tracing::debug!(schedule = %draft.amendment.name, id = %task.id(), %queue, "fired");
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        if let Some(record) = draft.record {
            self.known.keep(version, record, bytes);
        }
        let mut stats = self.shared.stats();
        stats.fired += fired;
        stats.skipped += draft.skipped;
    }
}
