//! The process lane: bodies run in child processes of the same program, which are started when needed, used again,
//! bounded in number, and ended when idle.

mod child;
mod entry;
mod frames;
mod leash;
mod words;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{Lane, Registry, TaskContext, TaskError, ms, secs};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::executor::not_started;
use crate::run::Start;
use crate::settings::{ProcessLane, Settings};
use crate::stats::Counters;
use child::{Child, NoChild};
use frames::{Ending, Order, Report, RunOrder};

use entry::entry_is_there;
pub use entry::{Entry, EntryError, entry};

/// The name by which a child is called, its argument 0: unlike a variable it does not reach the child's own children.
const PROGRAM_NAME: &str = "lovage-process-lane";
/// The variable that tells a child whose it is.
const PARENT_VARIABLE: &str = "LOVAGE_PROCESS_LANE_OF";
/// Where no child is to be had it is not tried more often, by each run that wants one.
const NO_CHILD_PAUSE: Duration = secs(1);
/// How often a child is asked how far its body is: reports of a worker are a third of a lease apart.
const PROGRESS_EVERY: Duration = ms(250);

/// A program that has tasks of the process lane, and no entry for the child processes that run them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "task {task:?} at {location} runs in child processes of this program, which has no entry for them: call \
     lovage::process::init() first in main(); where main() is not yours, as in tests, set ProcessLane::Threads"
)]
pub struct ProcessLaneError {
    task: &'static str,
    location: String,
}

/// Checks that children of this process would find their entry, and not become workers that start children.
pub(crate) fn check(registry: &Registry, settings: &Settings) -> Result<(), ProcessLaneError> {
    let in_children = settings.process_lane == ProcessLane::Children;
    let mut tasks = registry.tasks().into_iter();
    match tasks.find(|task| task.lane == Lane::Process) {
        Some(task) if in_children && !entry_is_there() => Err(ProcessLaneError {
            task: task.name,
            location: task.location.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The children of one worker.
#[derive(Debug)]
pub(crate) struct Children {
    idle: Mutex<Idle>,
    /// One for each process that is not waited for yet.
    permits: Arc<Semaphore>,
    idled: Notify,
    tasks_max: u32,
    idle_max: Duration,
    memory: Option<u64>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The one that was idle longest is the first.
    children: Vec<Child>,
    swept: bool,
}

/// What runs in a child.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) context: TaskContext,
    pub(crate) start: Arc<Start>,
    /// The task's own limit.
    pub(crate) memory: Option<u64>,
}

impl Children {
    pub(crate) fn new(settings: &Settings, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(settings.process_concurrency)),
            idled: Notify::new(),
            tasks_max: settings.max_tasks_per_child,
            idle_max: settings.process_idle,
            memory: settings.process_memory,
            counters,
        })
    }

    /// Runs a body in a child. Dropping the future kills the child with all of its group.
    pub(crate) async fn run(self: Arc<Self>, work: Work) -> Result<Bytes, TaskError> {
        let memory = work.memory.or(self.memory);
        loop {
            let mut child = match self.child(memory).await {
                Ok(child) => child,
                Err(NoChild::Unfit(error)) => {
                    tracing::warn!(task = %work.context.task(), %error, "a child process does not start");
                    work.start.find_unfit();
                    sleep(NO_CHILD_PAUSE).await;
                    return Err(error);
                }
                Err(NoChild::Host(error)) => {
                    tracing::warn!(%error, "the system gives no child process");
                    // Given back, it costs no attempt.
                    work.start.refuse();
                    sleep(NO_CHILD_PAUSE).await;
                    return Err(not_started());
                }
            };
            // It may have taken a while.
            if !work.start.begins(&work.context) {
                self.put_back(child);
                return Err(not_started());
            }
            child.begin();
            let order = order(&work)?;
            // One that ended while it was idle has not read the order, so another may have it.
            if child.send(&order).await.is_ok() || child.runs == 1 {
                return self.attend(child, &work).await;
            }
        }
    }

    async fn attend(self: &Arc<Self>, mut child: Child, work: &Work) -> Result<Bytes, TaskError> {
        let cancelled = work.context.cancellation().cancelled();
        tokio::pin!(cancelled);
        let mut told = false;
        let mut looks = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = false;
        loop {
            let report = tokio::select! {
                biased;
                report = child.receive() => report,
                () = &mut cancelled, if !told => {
                    told = true;
                    // Where it cannot be told it has hung up, which is heard next.
                    let _ = child.send(&Order::Cancel).await;
                    continue;
                }
                // One question at a time: a child that is stopped must not be written to without end.
                _ = looks.tick(), if !asked => {
                    asked = true;
                    let _ = child.send(&Order::TellProgress).await;
                    continue;
                }
            };
            return match report {
                Ok(Some(Report::Progress(note))) => {
                    asked = false;
                    if let Some(note) = note {
                        work.context.progress(note);
                    }
                    continue;
                }
                Ok(Some(Report::Ended { end, spent })) => {
                    if spent || self.tasks_max <= child.runs {
                        child.end();
                    } else {
                        self.put_back(child);
                    }
                    match end {
                        Ending::Value(value) => Ok(value.into()),
                        Ending::Error(error) => Err(error.into()),
                    }
                }
                Ok(Some(Report::NotStarted)) => {
                    work.start.refuse();
                    self.put_back(child);
                    Err(not_started())
                }
                _ => {
                    self.counters.crashed.fetch_add(1, Ordering::Relaxed);
                    Err(child.crash("the child process of the body").await)
                }
            };
        }
    }

    /// An idle child with this limit of memory, or a new one.
    async fn child(self: &Arc<Self>, memory: Option<u64>) -> Result<Child, NoChild> {
        loop {
            if let Some(child) = self.take_idle(memory) {
                return Ok(child);
            }
            let permit = if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                permit
            } else {
                // The lane has a slot for this run, so one of the processes is none of a run's.
                self.end_one_idle();
                tokio::select! {
                    permit = Arc::clone(&self.permits).acquire_owned() => {
                        permit.map_err(|error| NoChild::Host(io::Error::other(error)))?
                    }
                    () = self.idled.notified() => continue,
                }
            };
            return self.start(memory, permit).await;
        }
    }

    /// Starts a child, also where whoever wanted it gives up meanwhile: else a task whose limit is shorter than the
    /// start of the program would never have one.
    async fn start(
        self: &Arc<Self>,
        memory: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Child, NoChild> {
        let (tell, told) = oneshot::channel();
        let children = Arc::downgrade(self);
        self.counters.children.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let started = Child::start(memory, permit).await;
            if let Err(Ok(unwanted)) = tell.send(started)
                && let Some(children) = children.upgrade()
            {
                children.put_back(unwanted);
            }
        });
        told.await
            .unwrap_or_else(|error| Err(NoChild::Host(io::Error::other(error))))
    }

    fn take_idle(&self, memory: Option<u64>) -> Option<Child> {
        let mut idle = self.idle();
        idle.children.retain(|child| !child.has_ended());
        // The last used has the warmest caches, and lets the others grow old.
        let place = idle
            .children
            .iter()
            .rposition(|child| child.memory == memory)?;
        Some(idle.children.remove(place))
    }

    fn end_one_idle(&self) {
        let mut idle = self.idle();
        if !idle.children.is_empty() {
            idle.children.remove(0).end();
        }
    }

    fn put_back(self: &Arc<Self>, mut child: Child) {
        child.idle_since = Instant::now();
        let mut idle = self.idle();
        idle.children.push(child);
        self.idled.notify_one();
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_max));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends children that have been idle for too long, for as long as there are idle ones.
async fn sweep(children: Weak<Children>, idle_max: Duration) {
    let mut next = Instant::now() + idle_max;
    loop {
        sleep_until(next).await;
        let Some(children) = children.upgrade() else {
            return;
        };
        let mut idle = children.idle();
        let now = Instant::now();
        let old = idle
            .children
            .iter()
            .take_while(|child| child.idle_since + idle_max <= now)
            .count();
        idle.children.drain(..old).for_each(Child::end);
        let Some(child) = idle.children.first() else {
            idle.swept = false;
            return;
        };
        next = child.idle_since + idle_max;
    }
}

fn order(work: &Work) -> Result<Order, TaskError> {
    let context = &work.context;
    // It was decoded from bytes within the limits.
    let envelope = context.envelope().encode().map_err(TaskError::malformed)?;
    Ok(Order::Run(RunOrder {
        envelope: envelope.bytes().to_vec(),
        fence: context.fence(),
        claimed_at_ms: context.claimed_at().get(),
        losses: context.losses(),
        snoozes: context.snoozes(),
        start_by_ns: monotonic_ns().saturating_add(work.start.good_for_ns()),
    }))
}

/// The host's monotonic clock, which all processes share.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let ns = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}
