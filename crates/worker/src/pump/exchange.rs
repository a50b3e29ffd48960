//! The pump's dealings with the broker: one round trip a queue that settles what has finished and claims what fits.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use lovage_core::{
    Ack, BATCH_MAX, Broker, BrokerError, Claim, Fence, Settled, Settlement, TaskError, TaskId,
    Verdict,
};
use tokio::time::Instant;
use tower::Service;

use super::Pump;
use crate::fetcher::{Queue, order};
use crate::held::{Held, Stage};
use crate::lanes::index;
use crate::lease::Notice;
use crate::run::Run;
use crate::settler::{Exchange, Outgoing, Reply};
use crate::tenure::Tenure;

/// Two, so that the broker works on one while the worker works on what the other brought.
const UNDER_WAY_MAX: usize = 2;
/// A second exchange begins for no less than this many settlements and claims: small ones cost as many commands.
const SECOND_MIN: usize = 64;
/// Where two exchanges share what may be claimed, the least that is left to one.
const SHARE_MIN: usize = 100;
/// Answers in a row whose count differs from ours before the ids are compared: settlements and claims that overtake
/// each other make single ones differ.
const MISMATCHES_MAX: u32 = 3;

impl<B, S> Pump<B, S>
where
    B: Broker,
    S: Service<Run, Response = Bytes, Error = TaskError, Future: Send> + Clone + Send + 'static,
{
    /// Begins the exchanges that there is something for, and listens for the bells of queues known to be empty.
    pub(super) fn exchange(&mut self) {
        let (now, std_now) = (Instant::now(), self.home.clock().now());
        for place in order(&self.queues, self.weighted) {
            self.adopt(place);
            let queue = &mut self.queues[place];
            queue.linger_ends = None;
            if queue.due.is_some_and(|due| due <= now) {
                queue.due = None;
                queue.hungry = true;
            }
            let Some(tenure) = queue
                .tenure
                .clone()
                .filter(|tenure| tenure.is_good(std_now))
            else {
                continue;
            };
            if queue.trouble.paused_until(now).is_some() {
                continue;
            }
            self.convict(place, &tenure);
            self.begin(place, &tenure);
            self.listen(place);
        }
    }

    /// How many deliveries of this queue's lane may be held, running ones included.
    fn capacity(&self, place: usize) -> usize {
        let queue = &self.queues[place];
        let lane = &self.lanes[index(queue.lanes.lane())];
        lane.slots
            + match self.prefetch {
                Some(held) => (usize::from(held) - 1) * lane.slots,
                None => self.buffer(place, lane.slots),
            }
    }

    /// How many deliveries may wait for a slot: no more than suits each queue that competes for the lane, or what one
    /// of short runs has waiting would keep out another of longer ones for as long as there is more.
    fn buffer(&self, place: usize, slots: usize) -> usize {
        let lane = self.queues[place].lanes.lane();
        let rivals = if self.weighted {
            &self.queues[..]
        } else {
            &self.queues[..place]
        };
        let competes = |queue: &&Queue| {
            queue.hungry
                && queue.tenure.is_some()
                && queue.trouble.is_none()
                && queue.lanes.lane() == lane
        };
        let own = self.queues[place].pace.buffer(slots);
        let theirs = rivals.iter().filter(competes);
        theirs.fold(own, |least, rival| least.min(rival.pace.buffer(slots)))
    }

    /// How many more deliveries this queue may bring.
    fn room(&self, place: usize) -> usize {
        if self.stage.is_quiet() {
            return 0;
        }
        let (queue, capacity) = (&self.queues[place], self.capacity(place));
        let lane = &self.lanes[index(queue.lanes.lane())];
        let reserved: usize = self.lanes.iter().map(|lane| lane.reserved).sum();
        let free = self
            .held_max
            .saturating_sub(self.table.unfinished() + reserved);
        let want = capacity.saturating_sub(lane.held() + lane.reserved);
        let want = want.min(free).min(BATCH_MAX);
        if queue.rich {
            want.min(SHARE_MIN.max(capacity / 2))
        } else {
            want
        }
    }

    fn begin(&mut self, place: usize, tenure: &Arc<Tenure>) {
        let room = self.room(place);
        let queue = &mut self.queues[place];
        let may_claim =
            queue.hungry && (queue.claims.is_empty() || queue.rich) && !queue.ledger.is_stuck();
        let ask = if may_claim { room } else { 0 };
        let linger_ends = queue
            .ledger
            .lingers_until(Instant::now())
            .filter(|_| !self.stage.is_quiet());
        let settle = if linger_ends.is_none() {
            queue.ledger.len()
        } else {
            0
        };
        let least = if queue.under_way == 0 { 1 } else { SECOND_MIN };
        if UNDER_WAY_MAX <= queue.under_way || ask + settle < least {
            queue.linger_ends = linger_ends;
            return;
        }
        queue.under_way += 1;
        queue.exchanges += 1;
        if 0 < ask {
            queue.claims.push(queue.exchanges);
            self.lanes[index(queue.lanes.lane())].reserved += ask;
        }
        let exchange = Exchange {
            queue: place,
            number: queue.exchanges,
            tenure: Arc::clone(tenure),
            began: Instant::now(),
            settle: if 0 < settle {
                queue.ledger.take()
            } else {
                Vec::new()
            },
            lane: queue.lanes.lane(),
            claim: u16::try_from(ask).ok().and_then(NonZeroU16::new),
        };
        let under_way = exchange.drive(self.broker.clone(), queue.name.clone());
        self.exchanges.push(under_way);
    }

    /// Whether no slot is to be had for this queue's tasks. What others of short runs have waiting says nothing: they
    /// let this one in as soon as it has something.
    fn is_full(&self, place: usize) -> bool {
        let lane = self.queues[place].lanes.lane();
        let state = &self.lanes[index(lane)];
        let soon_free = |(other, queue): (usize, &Queue)| {
            other != place && queue.lanes.lane() == lane && 0 < queue.pace.buffer(state.slots)
        };
        self.capacity(place) <= state.held() && !self.queues.iter().enumerate().any(soon_free)
    }

    fn listen(&mut self, place: usize) {
        // Not asked of `room`: what claims under way have reserved may stay empty, and a bell costs a connection to
        // hang up.
        let full = self.is_full(place);
        let quiet = self.stage.is_quiet();
        let queue = &mut self.queues[place];
        if quiet || full {
            queue.bell.hang_up();
        } else if !queue.hungry
            && queue.claims.is_empty()
            && queue.bell_trouble.paused_until(Instant::now()).is_none()
        {
            queue.bell.listen(&self.broker, &queue.name);
        }
    }

    pub(super) fn take_reply(&mut self, reply: Reply) {
        let Reply {
            exchange,
            settled,
            claimed,
        } = reply;
        let place = exchange.queue;
        let queue = &mut self.queues[place];
        queue.under_way -= 1;
        queue.claims.retain(|number| *number != exchange.number);
        let mut count = None;
        let mut failed = false;
        match settled {
            Some(Ok(settled)) => {
                queue.ledger.worked();
                self.settled(place, exchange.settle, &settled);
            }
            Some(Err(error)) => {
                failed = true;
                self.not_settled(place, &exchange.tenure, exchange.settle, &error);
            }
            None => {}
        }
        if let Some(asked) = exchange.claim {
            let asked = usize::from(asked.get());
            self.lanes[index(exchange.lane)].reserved -= asked;
            match claimed {
                Some(Ok(Claim::Granted(batch))) => {
                    count = Some(batch.held);
                    let (tenure, began) = (&exchange.tenure, exchange.began);
                    self.take_batch(place, tenure, began, asked, batch);
                }
                Some(Ok(Claim::NoLease)) => {
                    failed = true;
                    let queue = &mut self.queues[place];
                    queue.trouble.pause();
                    queue.seat.ask_renewal();
                }
                Some(Err(error)) => {
                    failed = true;
                    self.queues[place].failed("claim", &error);
                }
                None => {}
            }
        }
        let queue = &mut self.queues[place];
        if !failed {
            queue.trouble.worked(&queue.name);
        }
        if let (Some(count), 0) = (count, queue.under_way) {
            queue.mismatches = if count == queue.held {
                0
            } else {
                queue.mismatches + 1
            };
            if MISMATCHES_MAX <= queue.mismatches {
                queue.mismatches = 0;
                queue.seat.ask_comparison();
            }
        }
    }

    fn settled(&mut self, place: usize, settle: Vec<Outgoing>, settled: &Settled) {
        self.counters.cut(&self.queues[place].name, &settled.cut);
        if !settled.stale.is_empty() {
            let stale = settled.stale.len();
            self.counters
                .stale
                .fetch_add(u64::try_from(stale).unwrap_or(u64::MAX), Ordering::Relaxed);
            tracing::debug!(queue = %self.queues[place].name, stale, "answers were too late, or sent twice");
        }
        for outgoing in settle {
            let Settlement { id, fence, verdict } = &outgoing.settlement;
            if !settled.stale.contains(id) {
                self.counters.settled(verdict);
                let held = self.table.get_mut(outgoing.place);
                if matches!(verdict, Verdict::Bury(_)) && held.is_some_and(|held| held.calls_back) {
                    self.queues[place].seat.ask_callbacks();
                }
                // The one event that says a task's verdict was taken: what a history of a run is checked against.
                tracing::trace!(
                    target: "lovage_worker::settled", %id, fence = fence.number, verdict = verdict.name()
                );
            }
            self.forget(outgoing.place);
        }
    }

    fn not_settled(
        &mut self,
        place: usize,
        tenure: &Arc<Tenure>,
        settle: Vec<Outgoing>,
        error: &BrokerError,
    ) {
        let queue = &mut self.queues[place];
        queue.ledger.failed(error);
        queue.failed("settle", error);
        if tenure.is_lost() {
            self.too_late(settle);
        } else {
            queue.ledger.put_back(settle);
        }
    }

    fn too_late(&mut self, settle: Vec<Outgoing>) {
        for outgoing in settle {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
            self.forget(outgoing.place);
        }
    }

    /// Takes up the queue's new identity where the old one is lost.
    fn adopt(&mut self, place: usize) {
        let queue = &mut self.queues[place];
        if queue
            .tenure
            .as_ref()
            .is_some_and(|tenure| !tenure.is_lost())
        {
            return;
        }
        if queue.tenure.is_some() {
            let settle = queue.ledger.drain();
            self.too_late(settle);
            self.interrupt_lost(place);
        }
        let queue = &mut self.queues[place];
        queue.tenure = queue.seat.tenure().filter(|tenure| !tenure.is_lost());
        // What still runs under the old identity is none of the new one's.
        queue.held = 0;
        queue.hungry = true;
    }

    /// Others may run these tasks already: their tokens are cancelled, and what has not started will not.
    fn interrupt_lost(&mut self, place: usize) {
        for (_, held) in self.table.iter_mut() {
            if held.queue == place && held.tenure.is_lost() {
                held.interrupt();
            }
        }
        self.release_interrupted();
    }

    /// Settles what was interrupted while it waited for a slot.
    fn release_interrupted(&mut self) {
        for lane in 0..self.lanes.len() {
            let mut waiting = std::mem::take(&mut self.lanes[lane].waiting);
            let mut interrupted = Vec::new();
            waiting.retain(|ready| {
                let held = self.table.get_mut(ready.place);
                let stays = held.is_some_and(|held| !held.interrupted);
                if !stays {
                    interrupted.push(ready.place);
                }
                stays
            });
            self.lanes[lane].waiting = waiting;
            for place in interrupted {
                self.settle(place, Verdict::Release);
            }
        }
    }

    pub(super) fn take_notice(&mut self, notice: Notice) {
        match notice {
            // Only to wake up: the next exchange looks at the seat.
            Notice::Good => {}
            Notice::List => self.reporter.list(self.table.running()),
            Notice::Cancelled { queue, worker, ids } => {
                let ids: HashSet<TaskId> = ids.into_iter().collect();
                for (_, held) in self.table.iter_mut() {
                    if held.queue == queue && held.tenure.worker == worker && ids.contains(&held.id)
                    {
                        held.interrupt();
                    }
                }
                self.release_interrupted();
            }
            Notice::Holdings {
                queue,
                worker,
                held,
                asked,
            } => {
                let present = self.queues[queue].tenure.as_ref();
                if present.is_some_and(|tenure| tenure.worker == worker) {
                    self.compare(queue, held, asked);
                }
            }
        }
    }

    fn compare(&mut self, place: usize, account: Vec<(TaskId, Fence)>, asked: std::time::Instant) {
        let mut unseen: HashSet<_> = account.iter().copied().collect();
        let mut lost = 0;
        for (_, held) in self.table.iter_mut() {
            if held.queue != place || held.tenure.is_lost() {
                continue;
            }
            // One that came after the question is not in the answer; one that is being settled may be gone already.
            let there = unseen.remove(&(held.id, held.fence));
            if !there && held.since < asked && held.is_unfinished() && !held.interrupted {
                held.interrupt();
                lost += 1;
            }
        }
        let queue = &mut self.queues[place];
        if 0 < lost {
            tracing::warn!(queue = %queue.name, lost, "tasks are no longer this worker's; their runs are cancelled");
        }
        // In the order of the account: they go back to the head of ready as they are named.
        let suspects = account.into_iter().filter(|held| unseen.contains(held));
        queue.suspects.name(suspects.collect(), queue.exchanges);
        self.release_interrupted();
    }

    /// Gives back what the broker says we hold and no claim has brought.
    fn convict(&mut self, place: usize, tenure: &Arc<Tenure>) {
        let (queue, table) = (&mut self.queues[place], &self.table);
        let known = || {
            let ours = table.iter().filter(|(_, held)| held.queue == place);
            ours.map(|(_, held)| (held.id, held.fence)).collect()
        };
        let unseen = queue.suspects.convict(&queue.claims, known);
        if unseen.is_empty() {
            return;
        }
        tracing::warn!(queue = %queue.name, tasks = unseen.len(), "an answer was lost: giving back tasks that never arrived");
        for (id, fence) in unseen {
            self.queues[place].held += 1;
            let place = self.table.insert(Held {
                queue: place,
                tenure: Arc::clone(tenure),
                id,
                fence,
                ack: Ack::Late,
                stage: Stage::Settling,
                interrupted: false,
                since: self.home.clock().now(),
                calls_back: false,
            });
            self.settle(place, Verdict::Release);
        }
    }
}
