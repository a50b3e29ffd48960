//! What a running body can see of itself and of its worker.

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Fence;
use crate::envelope::{Envelope, TraceContext};
use crate::error::TaskError;
use crate::ids::{QueueName, TaskId, TaskName};
use crate::reports::Progress;
use crate::time::Millis;

/// One run of one task, as its body sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    envelope: Envelope,
    fence: Fence,
    attempt: u32,
    losses: u32,
    snoozes: u32,
    cancellation: CancellationToken,
    states: Arc<States>,
    /// Made by the first note: who notes nothing pays for a pointer.
    progress: OnceLock<Box<Mutex<Progress>>>,
}

impl TaskContext {
    /// The context of the next run of `envelope`. Workers and the test kit make it; bodies receive it.
    pub fn new(
        envelope: Envelope,
        fence: Fence,
        losses: u32,
        snoozes: u32,
        cancellation: CancellationToken,
        states: Arc<States>,
    ) -> Self {
        let attempt = u32::from(envelope.attempts) + 1;
        Self(Arc::new(Inner {
            envelope,
            fence,
            attempt,
            losses,
            snoozes,
            cancellation,
            states,
            progress: OnceLock::new(),
        }))
    }

    /// A context for calling a body in a unit test: a task of its own, first attempt, no states.
    pub fn for_test() -> Self {
        let name = |text| TaskName::parse(text).expect("the name is a constant");
        let queue = QueueName::parse("test").expect("the name is a constant");
        let envelope = Envelope::new(
            TaskId::random(),
            name("test"),
            queue,
            bytes::Bytes::from_static(b"\x90"),
        );
        let fence = Fence {
            number: 1,
            claimed_at: crate::time::Millis::default(),
        };
        Self::new(
            envelope,
            fence,
            0,
            0,
            CancellationToken::new(),
            Arc::default(),
        )
    }

    /// The task's identity.
    pub fn id(&self) -> TaskId {
        self.0.envelope.id
    }

    /// The task's name.
    pub fn task(&self) -> &TaskName {
        &self.0.envelope.task
    }

    /// The queue that it was sent to.
    pub fn queue(&self) -> &QueueName {
        &self.0.envelope.queue
    }

    /// The number of this attempt by the retry policy: 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How often a worker was lost while it held this task.
    pub fn losses(&self) -> u32 {
        self.0.losses
    }

    /// How often this task was snoozed: see [`Self::snooze`].
    pub fn snoozes(&self) -> u32 {
        self.0.snoozes
    }

    /// The error that fails this attempt: `return Err(ctx.retry("the bank is busy").after(secs(30)))`.
    ///
    /// The attempt counts, and with the last one the task is a dead letter with this reason. The delay is the
    /// policy's unless [`after`](TaskError::after) says another. A body of `anyhow::Result` answers
    /// [`.into_anyhow()`](TaskError::into_anyhow) of it.
    pub fn retry(&self, reason: impl Display) -> TaskError {
        TaskError::new(reason)
    }

    /// The error that ends this run and lets the task run again after `span`: `return Err(ctx.snooze(mins(5)))`.
    ///
    /// The run counts as no attempt, so there is no limit but the task's expiry: a task whose time to start has
    /// passed when it wakes up has expired. [`Self::snoozes`] tells how often it slept, for a body that wants a
    /// limit of its own. The span is at least [`SNOOZE_MIN`](crate::SNOOZE_MIN). An at-most-once task may be snoozed
    /// as well: it starts again because its body says so.
    pub fn snooze(&self, span: Duration) -> TaskError {
        TaskError::new("put off by its body").snooze(span)
    }

    /// A number that only grows from one handing-out of this task to the next, for conditional writes elsewhere:
    /// a store that remembers the highest it has seen can refuse a worker that was given up.
    pub fn fence(&self) -> u64 {
        self.0.fence.number
    }

    /// When this run's worker claimed the task, by the broker's clock.
    pub fn claimed_at(&self) -> Millis {
        self.0.fence.claimed_at
    }

    /// The whole message, as it was claimed.
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// What the sender added.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.envelope.headers
    }

    /// The first task of the tree that this one belongs to: itself, unless another task sent it.
    pub fn root(&self) -> TaskId {
        self.0.envelope.root.unwrap_or(self.0.envelope.id)
    }

    /// The task that sent this one.
    pub fn parent(&self) -> Option<TaskId> {
        self.0.envelope.parent
    }

    /// The trace that the sender was in.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.envelope.trace.as_ref()
    }

    /// Whether somebody may want the result.
    pub fn keeps_result(&self) -> bool {
        self.0.envelope.result_ttl.is_some()
    }

    /// Notes how far this run has come, for whoever looks at its worker: a text of at most
    /// [`PROGRESS_BYTES_MAX`](crate::PROGRESS_BYTES_MAX) bytes, or `(done, of)`. The last note counts.
    ///
    /// Cheap: it is written into this context and told with the worker's next report, a few seconds later. Where the
    /// worker is lost, the ledger of losses has it.
    ///
    /// ```
    /// # let ctx = lovage_core::TaskContext::for_test();
    /// ctx.progress((3, 10));
    /// ctx.progress("the upload has begun");
    /// ```
    pub fn progress(&self, note: impl Into<Progress>) {
        let note = note.into();
        let mut fresh = Some(note);
        let cell = self
            .0
            .progress
            .get_or_init(|| Box::new(Mutex::new(fresh.take().expect("it is asked for once"))));
        if let Some(note) = fresh {
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = note;
        }
    }

    /// What was last noted.
    pub fn last_progress(&self) -> Option<Progress> {
        let cell = self.0.progress.get()?;
        Some(cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A look at this run that keeps nothing of it alive.
    pub fn downgrade(&self) -> WeakTaskContext {
        WeakTaskContext(Arc::downgrade(&self.0))
    }

    /// The token that is cancelled when this run should end: its soft timeout, a cancellation, a lost lease or the
    /// worker's shutdown. A body that waits should select on `cancelled()`; a loop should ask [`Self::is_cancelled`].
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// Whether this run should end.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancellation.is_cancelled()
    }

    /// A value that the worker was given for all tasks.
    ///
    /// # Errors
    /// A permanent [`TaskError`] where the worker has none; workers refuse to start in that case, so a body only
    /// sees it in a unit test.
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<State<T>, TaskError> {
        self.0.states.get::<T>().ok_or_else(|| {
            TaskError::permanent(anyhow::anyhow!(
                "the worker has no state of type {}",
                type_name::<T>()
            ))
        })
    }

    /// This context with `states`, for unit tests of bodies.
    pub fn with_states(&self, states: States) -> Self {
        let inner = &self.0;
        Self::new(
            inner.envelope.clone(),
            inner.fence,
            inner.losses,
            inner.snoozes,
            inner.cancellation.clone(),
            Arc::new(states),
        )
    }
}

/// A run that may have ended: see [`TaskContext::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakTaskContext(Weak<Inner>);

impl WeakTaskContext {
    /// The run, while somebody holds its context.
    pub fn upgrade(&self) -> Option<TaskContext> {
        self.0.upgrade().map(TaskContext)
    }
}

/// A value that the worker holds for all tasks: a pool, a client, settings. Derefs to it.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> State<T> {
    /// Wraps a value, for unit tests of bodies.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The values that a worker holds for its tasks, one a type.
#[derive(Clone, Default)]
pub struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value; a second one of the same type takes the place of the first.
    pub fn with<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// The value of type `T`.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<State<T>> {
        let value = Arc::clone(self.0.get(&TypeId::of::<T>())?);
        value.downcast().ok().map(State)
    }

    /// Whether a value of the type that `need` names is there.
    pub fn has(&self, need: &StateNeed) -> bool {
        self.0.contains_key(&(need.id)())
    }
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "States({} types)", self.0.len())
    }
}

impl PartialEq for StateNeed {
    fn eq(&self, other: &Self) -> bool {
        (self.id)() == (other.id)()
    }
}

/// A type of state that a task's body asks for.
#[derive(Clone, Copy, Debug)]
pub struct StateNeed {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
}

impl StateNeed {
    /// The need for a `T`.
    pub const fn of<T: Send + Sync + 'static>() -> Self {
        Self {
            id: TypeId::of::<T>,
            name: type_name::<T>,
        }
    }

    /// The type's name, for messages.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }
}
