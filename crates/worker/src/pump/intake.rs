//! What a claim brought: into the table, to a lane, and from there to its run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::envelope::edit;
use lovage_core::{Ack, Batch, Broker, Delivery, Lane, TaskError, Verdict, secs};
use tokio::time::Instant;
use tower::Service;

use super::{Pump, Ready};
use crate::executor::{Answer, Terms, deliver};
use crate::held::{Held, Place, Stage};
use crate::lanes::{NARROWEST_FIRST, index};
use crate::run::{Run, Start};
use crate::tenure::Tenure;
use crate::triage::{Triage, expired};

/// The longest that a delivery waits for a slot before it is given back: runs have become longer than they were when
/// it was claimed, or its lane is narrower than its queue was thought to be.
pub(crate) const HOARD_MAX: Duration = secs(1);

impl<B, S> Pump<B, S>
where
    B: Broker,
    S: Service<Run, Response = Bytes, Error = TaskError, Future: Send> + Clone + Send + 'static,
{
    pub(super) fn take_batch(
        &mut self,
        place: usize,
        tenure: &Arc<Tenure>,
        began: Instant,
        asked: usize,
        batch: Batch,
    ) {
        let Batch {
            deliveries,
            now,
            next_due,
            ..
        } = batch;
        let brought = deliveries.len();
        self.queues[place].fed(asked, brought, next_due);
        self.counters.claimed.fetch_add(
            u64::try_from(brought).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        let (since, std_since) = (Instant::now(), self.home.clock().now());
        let counts = self.queues[place].is_under(tenure);
        for delivery in deliveries {
            let triage = self.tasks.triage(&delivery, now);
            self.queues[place].held += usize::from(counts);
            let held = |ack, stage| hold(place, tenure, &delivery, std_since, ack, stage);
            match triage {
                Triage::Settle(verdict) => {
                    note(&delivery, &verdict);
                    let place = self.table.insert(held(Ack::Late, Stage::Settling));
                    self.settle(place, verdict);
                }
                Triage::Run(planned) => {
                    let lane = planned.def.lane;
                    self.queues[place].lanes.came(lane);
                    let token = planned.context.cancellation().clone();
                    let place = self.table.insert(held(planned.ack, Stage::Waiting(token)));
                    if self.stage.is_quiet() || tenure.is_lost() {
                        self.settle(place, Verdict::Release);
                        continue;
                    }
                    self.lanes[index(lane)].waiting.push_back(Ready {
                        place,
                        planned,
                        began,
                        since,
                    });
                }
            }
        }
    }

    /// Starts what has a slot; answers whether anything had.
    pub(super) fn dispatch(&mut self) -> bool {
        let began = self.home.clock().now();
        let (mut waits, mut started) = (false, false);
        for lane in NARROWEST_FIRST {
            while self.lanes[index(lane)].has_room() {
                let Some(ready) = self.lanes[index(lane)].waiting.pop_front() else {
                    break;
                };
                self.start(lane, ready, began);
                started = true;
            }
            waits |= !self.lanes[index(lane)].waiting.is_empty();
        }
        self.check_hoard(waits);
        started
    }

    fn start(&mut self, lane: Lane, ready: Ready, began: std::time::Instant) {
        let Ready {
            place,
            planned,
            began: claimed,
            ..
        } = ready;
        if planned
            .expires_in
            .is_some_and(|span| span <= claimed.elapsed())
        {
            return self.settle(place, expired(planned.keep));
        }
        let Some(held) = self.table.get_mut(place) else {
            return;
        };
        let context = planned.context.clone();
        let start = Arc::new(Start::new(Arc::clone(&held.tenure)));
        let terms = Terms {
            start: Arc::clone(&start),
            policy: planned.policy,
            keep: planned.keep,
            put_off: planned.put_off,
            label: planned.label,
        };
        let run = Run {
            context: planned.context,
            args: planned.args,
            handler: planned.def.handler,
            lane,
            memory: planned.def.memory,
            limits: planned.limits,
            slot: self.lanes[index(lane)].take_slot(),
            start: Arc::clone(&start),
        };
        let answer = Answer::new(place, Arc::clone(&start), self.answers.clone());
        let task = self
            .home
            .spawn(deliver(self.service.clone(), run, terms, answer));
        held.stage = Stage::Running {
            context,
            task,
            lane,
            start,
            began,
        };
    }

    /// Gives back what has waited too long for a slot, unless a fixed prefetch asks for it.
    fn check_hoard(&mut self, waits: bool) {
        if !waits || self.prefetch.is_some() {
            self.hoard_check = None;
            return;
        }
        let now = Instant::now();
        let check = *self.hoard_check.get_or_insert(now + HOARD_MAX / 2);
        if now < check {
            return;
        }
        self.hoard_check = Some(now + HOARD_MAX / 2);
        for lane in 0..self.lanes.len() {
            // Oldest first, so the first young one ends the search.
            while let Some(ready) = self.lanes[lane].waiting.front() {
                if now.saturating_duration_since(ready.since) < HOARD_MAX {
                    break;
                }
                let place = ready.place;
                self.lanes[lane].waiting.pop_front();
                self.too_slow(place);
            }
        }
    }

    fn too_slow(&mut self, place: Place) {
        if let Some(held) = self.table.get_mut(place) {
            let queue = held.queue;
            self.queues[queue].pace.is_slow();
        }
        self.settle(place, Verdict::Release);
    }
}

fn hold(
    queue: usize,
    tenure: &Arc<Tenure>,
    delivery: &Delivery,
    since: std::time::Instant,
    ack: Ack,
    stage: Stage,
) -> Held {
    Held {
        queue,
        tenure: Arc::clone(tenure),
        id: delivery.id,
        fence: delivery.fence,
        ack,
        stage,
        interrupted: false,
        since,
        calls_back: edit::calls_back(&delivery.bytes),
    }
}

fn note(delivery: &Delivery, verdict: &Verdict) {
    let id = delivery.id;
    match verdict {
        Verdict::Bury(failure) => {
            tracing::warn!(%id, %failure, "a task cannot be run here and is a dead letter now");
        }
        Verdict::Park(delay) if delivery.parked.is_none() => {
            tracing::warn!(%id, ?delay, "a task is not known here; it is put off for a worker that knows it");
        }
        _ => tracing::debug!(%id, "settled without a run"),
    }
}
