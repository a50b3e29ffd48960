//! The process lane where there are no process groups: it is refused.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use lovage_core::{Lane, Registry, States, TaskContext, TaskError};

use crate::run::Start;
use crate::settings::{ProcessLane, Settings};
use crate::stats::Counters;

/// The children of one worker: none.
#[derive(Debug)]
pub(crate) struct Children;

/// What would run in a child.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) context: TaskContext,
    pub(crate) start: Arc<Start>,
    #[expect(dead_code, reason = "nothing runs here that could be held to it")]
    pub(crate) memory: Option<u64>,
}

impl Children {
    pub(crate) fn new(_: &Settings, _: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self)
    }

    pub(crate) async fn run(self: Arc<Self>, work: Work) -> Result<Bytes, TaskError> {
        let Work { context, start, .. } = work;
        start.refuse();
        Err(TaskError::new(format_args!(
            "{} cannot run here: there are no child processes on this system",
            context.task()
        )))
    }
}

/// A task of the process lane on a system that has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "task {task:?} at {location} runs in child processes, which only Unix has here; set ProcessLane::Threads to run it on \
     a thread"
)]
pub struct ProcessLaneError {
    task: &'static str,
    location: String,
}

pub(crate) fn check(registry: &Registry, settings: &Settings) -> Result<(), ProcessLaneError> {
    let in_children = settings.process_lane == ProcessLane::Children;
    let mut tasks = registry.tasks().into_iter();
    match tasks.find(|task| task.lane == Lane::Process) {
        Some(task) if in_children => Err(ProcessLaneError {
            task: task.name,
            location: task.location.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Proof that this process is a child: there is none.
#[derive(Debug)]
pub struct Entry(Infallible);

/// Why a process cannot be a child: never told here.
#[derive(Debug, thiserror::Error)]
#[error("no child processes on this system")]
pub struct EntryError;

/// Looks whether this process is a child of a worker's process lane. Here it never is.
///
/// # Errors
/// Never.
pub fn entry() -> Result<Option<Entry>, EntryError> {
    Ok(None)
}

impl Entry {
    /// Never called.
    pub async fn serve(self, _: Registry, _: States) -> anyhow::Result<()> {
        match self.0 {}
    }
}
