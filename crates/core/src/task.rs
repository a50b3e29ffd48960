//! What a task is: a message that can be sent, and a body that a worker runs.
//!
//! `#[lovage::task]` writes these impls; what it writes is what a person would:
//!
//! ```
//! use lovage_core::{AsyncBody, Registry, StateNeed, Task, TaskContext, TaskDef, TaskError};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add { a: u64, b: u64 }
//!
//! impl Task for Add {
//!     const NAME: &'static str = "add";
//!     type Output = u64;
//! }
//!
//! impl AsyncBody for Add {
//!     const NEEDS: &'static [StateNeed] = &[];
//!     async fn run(self, _: TaskContext) -> Result<u64, TaskError> { Ok(self.a + self.b) }
//! }
//!
//! let registry = Registry::new().with(TaskDef::asynchronous::<Add>()).build().unwrap();
//! assert!(registry.get("add").is_some());
//! ```

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{StateNeed, TaskContext};
use crate::envelope::ARGS_DEPTH_MAX;
use crate::error::TaskError;
use crate::options::TaskOptions;
use crate::unique::{Lock, Unique, UniqueError};

/// A message: the arguments of one task as named fields, and what its run answers.
///
/// The wire form of the arguments is a MessagePack map by field name, so a field added with `#[serde(default)]`
/// does not break messages that are queued already.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the message of a task",
    label = "not the message of a task",
    note = "`#[task]` on a function makes its message; calling that function builds it"
)]
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The name by which a worker finds the body: 1 to 200 characters of `A-Z a-z 0-9 - _ . : / @`.
    const NAME: &'static str;
    /// What a run answers.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The task's own options; a send can override each.
    fn options() -> TaskOptions {
        TaskOptions::new()
    }

    /// Which of its messages are the same task; none are unless it says so. A send can override it.
    fn unique() -> Option<Unique<Self>> {
        None
    }
}

/// A body that awaits; it runs on the worker's async runtime and must not block it.
pub trait AsyncBody: Task {
    /// The states that the body takes.
    const NEEDS: &'static [StateNeed];

    /// Runs the task.
    fn run(
        self,
        context: TaskContext,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;
}

/// A body that computes or blocks; it runs on a thread of its lane.
pub trait SyncBody: Task {
    /// The states that the body takes.
    const NEEDS: &'static [StateNeed];
    /// Where it runs: [`Lane::Cpu`], [`Lane::Blocking`] or [`Lane::Process`].
    const LANE: Lane;
    /// The most memory in bytes that its child process may have, for [`Lane::Process`]; `None` is the worker's setting.
    const MEMORY: Option<u64> = None;

    /// Runs the task.
    fn run(self, context: TaskContext) -> Result<Self::Output, TaskError>;
}

/// Where a body runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// On the async runtime, up to the worker's concurrency.
    Async,
    /// On a thread that may block, up to the worker's concurrency.
    Blocking,
    /// On a bounded pool of threads, about one a core.
    Cpu,
    /// In a child process of the worker, about one a core: what the body breaks is its own run alone.
    Process,
}

/// A run under way.
pub type Running = Pin<Box<dyn Future<Output = Result<Bytes, TaskError>> + Send>>;

/// How a body is called: with its context and the encoded arguments, for the encoded result.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// For [`Lane::Async`].
    Async(fn(TaskContext, Bytes) -> Running),
    /// For the other lanes.
    Sync(fn(TaskContext, Bytes) -> Result<Bytes, TaskError>),
}

/// A task that a worker can run: what `inventory` gathers.
#[derive(Clone, Copy, Debug)]
pub struct TaskDef {
    /// [`Task::NAME`].
    pub name: &'static str,
    /// Where the body runs.
    pub lane: Lane,
    /// [`Task::options`].
    pub options: fn() -> TaskOptions,
    /// [`SyncBody::MEMORY`].
    pub memory: Option<u64>,
    /// The key that a message with these arguments holds, by [`Task::unique`]; or why it cannot be written.
    pub lock: fn(&[u8]) -> Option<Result<Lock, UniqueError>>,
    /// The states that the body takes.
    pub needs: &'static [StateNeed],
    /// The body.
    pub handler: Handler,
    /// Where in the source the task is.
    pub location: &'static Location<'static>,
}

impl TaskDef {
    /// The definition of a task whose body awaits.
    #[track_caller]
    pub const fn asynchronous<T: AsyncBody>() -> Self {
        Self {
            name: T::NAME,
            lane: Lane::Async,
            options: T::options,
            memory: None,
            lock: lock_of::<T>,
            needs: T::NEEDS,
            handler: Handler::Async(run_async::<T>),
            location: Location::caller(),
        }
    }

    /// The definition of a task whose body computes or blocks.
    #[track_caller]
    pub const fn synchronous<T: SyncBody>() -> Self {
        Self {
            name: T::NAME,
            lane: T::LANE,
            options: T::options,
            memory: T::MEMORY,
            lock: lock_of::<T>,
            needs: T::NEEDS,
            handler: Handler::Sync(run_sync::<T>),
            location: Location::caller(),
        }
    }
}

inventory::collect!(TaskDef);

fn lock_of<T: Task>(args: &[u8]) -> Option<Result<Lock, UniqueError>> {
    let unique = T::unique()?;
    let message = decode_args::<T>(args).map_err(|error| UniqueError::Key {
        reason: error.to_string(),
    });
    Some(message.and_then(|message| unique.lock(&message)))
}

fn run_async<T: AsyncBody>(context: TaskContext, args: Bytes) -> Running {
    Box::pin(async move {
        let message: T = decode_args(&args)?;
        let keeps_result = context.keeps_result();
        let output = message.run(context).await?;
        encode_output(&output, keeps_result)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of Handler::Sync")]
fn run_sync<T: SyncBody>(context: TaskContext, args: Bytes) -> Result<Bytes, TaskError> {
    let message: T = decode_args(&args)?;
    let keeps_result = context.keeps_result();
    let output = message.run(context)?;
    encode_output(&output, keeps_result)
}

/// The wire form of a message's arguments.
///
/// # Errors
/// Where a field cannot be written as MessagePack, for example a map with a sequence of unknown length.
pub fn encode_args<T: Serialize>(message: &T) -> Result<Bytes, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(message).map(Bytes::from)
}

/// Reads a message's arguments; a permanent failure where they are not what the task takes.
pub fn decode_args<T: DeserializeOwned>(args: &[u8]) -> Result<T, TaskError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(args);
    reader.set_max_depth(ARGS_DEPTH_MAX);
    T::deserialize(&mut reader).map_err(|error| {
        TaskError::malformed(
            anyhow::Error::new(error).context("the arguments are not what this task takes"),
        )
    })
}

fn encode_output<T: Serialize>(output: &T, keeps_result: bool) -> Result<Bytes, TaskError> {
    if !keeps_result {
        return Ok(Bytes::new());
    }
    // The body has run: a result that cannot be written must not run it again.
    rmp_serde::to_vec_named(output)
        .map(Bytes::from)
        .map_err(|error| {
            TaskError::malformed(
                anyhow::Error::new(error).context("ran, but its result cannot be written"),
            )
        })
}

/// What a body's return type stands for; `#[task]` uses it for every return type whose name is `Result`.
pub trait IntoTaskResult {
    /// The value of a run that succeeded.
    type Output;

    /// As a task's result.
    fn into_task_result(self) -> Result<Self::Output, TaskError>;
}

impl<T, E: Into<TaskError>> IntoTaskResult for Result<T, E> {
    type Output = T;

    fn into_task_result(self) -> Result<T, TaskError> {
        self.map_err(Into::into)
    }
}
