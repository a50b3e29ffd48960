//! The main loop: the one owner of a worker's state. What happens elsewhere reaches it as events over bounded channels.

mod exchange;
mod intake;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lovage_core::{Ack, Broker, BrokerError, Failure, FailureKind, Settlement, TaskError, Verdict};
use lovage_process::Home;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tower::Service;

use crate::executor::{End, Finished};
use crate::fetcher::{BUFFER_MAX, Queue};
use crate::held::{self, Place, Table};
use crate::host;
use crate::lanes::{LANES, LaneState, can_be_stopped};
use crate::lease::Notice;
use crate::reporter::Reporter;
use crate::run::Run;
use crate::settings::Settings;
use crate::settler::{Outgoing, Reply};
use crate::shutdown::{Command, Stage, Step};
use crate::stats::Counters;
use crate::triage::{Planned, Tasks};

/// The most ends of runs that are taken in between two exchanges.
const ENDS_MAX: usize = 1_000;

/// The most deliveries that a worker may hold without a verdict: one a slot of each lane, and what waits for one.
pub(crate) const fn held_max(settings: &Settings) -> usize {
    2 * settings.concurrency + settings.cpu_threads + settings.process_concurrency + BUFFER_MAX
}

/// What the pump hears.
pub(crate) struct Inputs {
    pub(crate) finished: mpsc::Receiver<Finished>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) commands: watch::Receiver<Option<Command>>,
    pub(crate) freed: Arc<Notify>,
}

/// A planned run that waits for a slot of its lane.
pub(crate) struct Ready {
    place: Place,
    planned: Box<Planned>,
    /// When its claim was sent: spans of the broker's answer are counted from here, so that none is longer than meant.
    began: Instant,
    since: Instant,
}

/// The state, and what it works with.
pub(crate) struct Pump<B, S> {
    pub(crate) broker: B,
    pub(crate) service: S,
    pub(crate) tasks: Tasks,
    pub(crate) queues: Vec<Queue>,
    pub(crate) weighted: bool,
    pub(crate) lanes: [LaneState<Ready>; LANES],
    pub(crate) held_max: usize,
    /// Held a slot; `None` adapts.
    pub(crate) prefetch: Option<u16>,
    pub(crate) table: Table,
    pub(crate) stage: Stage,
    pub(crate) counters: Arc<Counters>,
    pub(crate) quiet: Arc<AtomicBool>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) answers: mpsc::Sender<Finished>,
    pub(crate) exchanges: FuturesUnordered<BoxFuture<'static, Reply>>,
    /// When to look whether something has waited too long for a slot.
    pub(crate) hoard_check: Option<Instant>,
    pub(crate) home: Home,
}

impl<B, S> Pump<B, S>
where
    B: Broker,
    S: Service<Run, Response = Bytes, Error = TaskError, Future: Send> + Clone + Send + 'static,
{
    /// Works until a shutdown has ended.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        let mut ends = Vec::with_capacity(ENDS_MAX);
        let mut owner_is_gone = false;
        while self.stage != Stage::Ended {
            if self.dispatch() {
                // Bodies that do not wait end before the next exchange, and are settled by it: fewer trips, fewer wake-ups.
                tokio::task::yield_now().await;
            }
            self.exchange();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                changed = inputs.commands.changed(), if !owner_is_gone => {
                    owner_is_gone = changed.is_err();
                    let asked = *inputs.commands.borrow_and_update();
                    // A worker whose handle is dropped gives everything back.
                    let command = asked.filter(|_| !owner_is_gone).unwrap_or(Command::Now);
                    let step = self.stage.command(command, Instant::now());
                    self.step(step);
                }
                // What is rare goes before what may be ready at every turn.
                Some(notice) = inputs.notices.recv() => self.take_notice(notice),
                (queue, rung) = poll_fn(|cx| poll_bells(&mut self.queues, cx)) => {
                    self.rung(queue, rung);
                }
                _ = inputs.finished.recv_many(&mut ends, ENDS_MAX) => self.take_ends(&mut ends),
                Some(reply) = self.exchanges.next() => self.take_reply(reply),
                () = inputs.freed.notified() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            // A claim under way may still bring tasks: nobody else would give them back.
            let holds_nothing = self.table.is_empty() && self.exchanges.is_empty();
            let step = self.stage.advance(Instant::now(), holds_nothing);
            self.step(step);
            self.counters
                .held
                .store(self.table.len(), Ordering::Relaxed);
        }
        if !self.table.is_empty() {
            tracing::warn!(
                tasks = self.table.len(),
                "not all tasks could be given back; they return when this worker's lease ends"
            );
        }
    }

    /// The next instant at which there is something to do although nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let queues = self.queues.iter().flat_map(|queue| {
            let due = queue.due.filter(|_| !self.stage.is_quiet());
            let paused = queue.trouble.paused_until(now);
            let bell_paused = queue.bell_trouble.paused_until(now);
            [paused, bell_paused, due, queue.linger_ends]
        });
        queues
            .chain([self.hoard_check, self.stage.deadline()])
            .flatten()
            .min()
    }

    fn rung(&mut self, place: usize, rung: Result<(), BrokerError>) {
        let queue = &mut self.queues[place];
        // Also where the bell is broken: then the queue is looked at as often as the bell is tried.
        queue.hungry = true;
        match rung {
            Ok(()) => queue.bell_trouble.worked(&queue.name),
            Err(error) => queue.bell_trouble.failed(&queue.name, "wait", &error),
        }
    }

    fn take_ends(&mut self, ends: &mut Vec<Finished>) {
        let now = self.home.clock().now();
        for Finished { place, end } in ends.drain(..) {
            let Some(held) = self.table.get_mut(place) else {
                continue;
            };
            if let (held::Stage::Running { began, .. }, End::Verdict(verdict)) = (&held.stage, &end)
                && !matches!(verdict, Verdict::Park(_))
            {
                let took = now.saturating_duration_since(*began);
                self.queues[held.queue].pace.ran(took);
                self.counters.ran.fetch_add(1, Ordering::Relaxed);
            }
            let verdict = match end {
                // A body that puts its task off has said so itself, interrupted or not; one that is parked has not begun.
                End::Verdict(
                    verdict @ (Verdict::Done { .. } | Verdict::Snooze(_) | Verdict::Park(_)),
                ) => verdict,
                End::Verdict(verdict) if !held.interrupted => verdict,
                // What an interrupted run answers is about the interruption. It may have run in part: an
                // at-most-once task must not start again.
                End::Verdict(_) | End::Aborted if held.ack == Ack::Early => abandoned(),
                End::NotStarted | End::Verdict(_) | End::Aborted => Verdict::Release,
            };
            self.settle(place, verdict);
        }
    }

    /// Notes a delivery's verdict, to be sent with the next exchange of its queue.
    pub(crate) fn settle(&mut self, place: Place, mut verdict: Verdict) {
        if let (Verdict::Bury(failure), Some(held)) = (&mut verdict, self.table.get_mut(place)) {
            note_run(failure, held, self.home.clock().now());
        }
        let Some(held) = self.table.settling(place) else {
            return;
        };
        if held.tenure.is_lost() {
            // Signed with the lost identity it would be answered as stale; the trip is spared.
            tracing::debug!(id = %held.id, "the answer is too late: the task was taken back");
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
            self.forget(place);
            return;
        }
        let settlement = Settlement {
            id: held.id,
            fence: held.fence,
            verdict,
        };
        let (queue, ack) = (held.queue, held.ack);
        self.queues[queue]
            .ledger
            .push(Outgoing { place, settlement }, ack);
    }

    /// Ends a delivery's stay.
    pub(crate) fn forget(&mut self, place: Place) {
        if let Some(held) = self.table.remove(place) {
            let queue = &mut self.queues[held.queue];
            queue.held -= usize::from(queue.is_under(&held.tenure));
        }
    }

    fn step(&mut self, step: Step) {
        if self.stage.is_quiet() {
            self.quiet.store(true, Ordering::Relaxed);
        }
        if step != Step::Stay {
            self.release_waiting();
        }
        match step {
            Step::Stay | Step::ReleaseWaiting => {}
            Step::Interrupt => {
                for (_, held) in self.table.iter_mut() {
                    held.interrupt();
                }
            }
            Step::Abort => {
                for (_, held) in self.table.iter_mut() {
                    if let held::Stage::Running {
                        task, lane, start, ..
                    } = &held.stage
                    {
                        held.interrupted = true;
                        // A body that has begun on a thread goes on: given back, it would run twice at once.
                        if can_be_stopped(*lane) || start.give_up() {
                            task.abort();
                        }
                    }
                }
            }
        }
    }

    fn release_waiting(&mut self) {
        for lane in 0..self.lanes.len() {
            for ready in std::mem::take(&mut self.lanes[lane].waiting) {
                self.settle(ready.place, Verdict::Release);
            }
        }
    }
}

fn poll_bells(
    queues: &mut [Queue],
    cx: &mut Context<'_>,
) -> Poll<(usize, Result<(), BrokerError>)> {
    for (place, queue) in queues.iter_mut().enumerate() {
        if let Poll::Ready(rung) = queue.bell.poll(cx) {
            return Poll::Ready((place, rung));
        }
    }
    Poll::Pending
}

/// Adds where and when the run was that ends as a dead letter.
fn note_run(failure: &mut Failure, held: &held::Held, now: std::time::Instant) {
    let run = failure.run_mut();
    run.worker = Some(held.tenure.worker.to_string());
    run.host = Some(host::name());
    run.pid = Some(std::process::id());
    run.claimed_at = Some(held.fence.claimed_at);
    if let held::Stage::Running { began, .. } = held.stage {
        run.ran = Some(now.saturating_duration_since(began));
    }
}

fn abandoned() -> Verdict {
    let text = "its worker ended the run; it may have run in part, and is not run again";
    Verdict::Bury(Failure::new(FailureKind::Abandoned, text))
}
