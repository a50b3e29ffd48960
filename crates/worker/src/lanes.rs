//! Where bodies run: on the async runtime, on threads that may block, on the cpu pool, or in child processes.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use lovage_core::{Handler, Lane, QueueName, Running, TaskError};
use lovage_process::Home;
use tokio::sync::{Notify, oneshot};
use tower::Service;

use crate::children::{Children, Work};
use crate::executor::not_started;
use crate::layers::catch_panic::caught;
use crate::run::Run;
use crate::settings::Settings;
use crate::threads::Threads;

/// The lanes, narrowest first: a queue is claimed for the narrowest lane of its tasks.
pub(crate) const NARROWEST_FIRST: [Lane; LANES] =
    [Lane::Process, Lane::Cpu, Lane::Blocking, Lane::Async];
pub(crate) const LANES: usize = 4;

pub(crate) const fn index(lane: Lane) -> usize {
    match lane {
        Lane::Process => 0,
        Lane::Cpu => 1,
        Lane::Blocking => 2,
        Lane::Async => 3,
    }
}

/// Whether giving up a run ends its body: by no longer polling it, or by killing its process.
pub(crate) fn can_be_stopped(lane: Lane) -> bool {
    matches!(lane, Lane::Async | Lane::Process)
}

/// The queues whose tasks run on several lanes.
pub(crate) fn mixed(tasks: impl Iterator<Item = (QueueName, Lane)>) -> Vec<QueueName> {
    let mut lanes: BTreeMap<QueueName, [bool; LANES]> = BTreeMap::new();
    for (queue, lane) in tasks {
        lanes.entry(queue).or_default()[index(lane)] = true;
    }
    let several = |used: &[bool; LANES]| 1 < used.iter().filter(|used| **used).count();
    lanes.retain(|_, used| several(used));
    lanes.into_keys().collect()
}

/// The pump's account of one lane: how many run, what waits for a slot, what is on its way.
#[derive(Debug)]
pub(crate) struct LaneState<T> {
    pub(crate) slots: usize,
    busy: Arc<AtomicUsize>,
    /// Deliveries in the order of their claims; bounded by `held_max`.
    pub(crate) waiting: VecDeque<T>,
    /// Asked for in claims under way.
    pub(crate) reserved: usize,
}

impl<T> LaneState<T> {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            busy: Arc::default(),
            waiting: VecDeque::new(),
            reserved: 0,
        }
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.busy() < self.slots
    }

    /// How many run or wait for a slot.
    pub(crate) fn held(&self) -> usize {
        self.busy() + self.waiting.len()
    }

    pub(crate) fn take_slot(&self) -> Slot {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::clone(&self.busy))
    }
}

/// A taken slot of a lane. It goes where the body goes: a body that outlives its verdict keeps its slot.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The innermost service: runs the body on its lane.
#[derive(Clone, Debug)]
pub(crate) struct Body(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    cpu: Threads,
    blocking: Threads,
    children: Arc<Children>,
    /// Told when a body ends that nobody waits for any more, so that its slot is used again.
    freed: Arc<Notify>,
}

impl Body {
    pub(crate) fn new(
        home: &Home,
        settings: &Settings,
        children: Arc<Children>,
        freed: Arc<Notify>,
    ) -> Self {
        Self(Arc::new(Pools {
            cpu: Threads::new(home, "lovage-cpu", settings.cpu_threads),
            blocking: Threads::new(home, "lovage-blocking", settings.concurrency),
            children,
            freed,
        }))
    }
}

impl Service<Run> for Body {
    type Response = Bytes;
    type Error = TaskError;
    type Future = BodyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, run: Run) -> BodyFuture {
        let Run {
            context,
            args,
            handler,
            lane,
            memory,
            slot,
            start,
            ..
        } = run;
        // An async body begins here; for another a thread or a child is to be had first.
        let may = match handler {
            Handler::Async(_) => start.begins(&context),
            Handler::Sync(_) => start.may_begin(&context),
        };
        if !may {
            return BodyFuture::Refused;
        }
        if lane == Lane::Process {
            let work = Work {
                context,
                start,
                memory,
            };
            return BodyFuture::Async {
                running: Box::pin(Arc::clone(&self.0.children).run(work)),
                _slot: slot,
            };
        }
        let handler = match handler {
            Handler::Async(handler) => {
                return BodyFuture::Async {
                    running: handler(context, args),
                    _slot: slot,
                };
            }
            Handler::Sync(handler) => handler,
        };
        let (answer, answered) = oneshot::channel();
        let (freed, begins) = (Arc::clone(&self.0.freed), Arc::clone(&start));
        let job = move || {
            // Given up while it waited for a thread: the verdict is out, so the body must not start.
            let end = (!answer.is_closed()).then(|| {
                if start.begins(&context) {
                    caught(|| handler(context, args)).and_then(|end| end)
                } else {
                    Err(not_started())
                }
            });
            drop(slot);
            // An answer that nobody waits for is dropped here; it is the user's, and may panic.
            let heard = end.map(|end| caught(|| answer.send(end).is_ok()));
            if !matches!(heard, Some(Ok(true))) {
                freed.notify_one();
            }
        };
        let threads = match lane {
            Lane::Cpu => &self.0.cpu,
            Lane::Blocking | Lane::Async | Lane::Process => &self.0.blocking,
        };
        if threads.run(Box::new(job)) {
            BodyFuture::Sync(answered)
        } else {
            // A host that is out of threads is no fault of the task: given back, it costs no attempt.
            begins.refuse();
            BodyFuture::Refused
        }
    }
}

/// A body under way.
pub(crate) enum BodyFuture {
    /// On this task, or in a child process that it attends; dropping this ends it.
    Async { running: Running, _slot: Slot },
    /// On a thread; dropping this does not stop it.
    Sync(oneshot::Receiver<Result<Bytes, TaskError>>),
    /// It must not begin.
    Refused,
}

impl Future for BodyFuture {
    type Output = Result<Bytes, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Async { running, .. } => running.as_mut().poll(cx),
            Self::Refused => Poll::Ready(Err(not_started())),
            Self::Sync(answered) => {
                let answer = ready!(Pin::new(answered).poll(cx));
                Poll::Ready(answer.unwrap_or_else(|_| {
                    Err(TaskError::panicked(
                        "the thread of the body ended without an answer",
                    ))
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_whose_tasks_run_on_several_lanes_is_told_from_others() {
        let tasks = [
            ("both", Lane::Async),
            ("cpu", Lane::Cpu),
            ("both", Lane::Cpu),
            ("cpu", Lane::Cpu),
            ("async", Lane::Async),
        ];
        let queue = |name| QueueName::parse(name).unwrap();
        let told = mixed(tasks.into_iter().map(|(name, lane)| (queue(name), lane)));
        assert_eq!(told, [queue("both")]);
    }
}
