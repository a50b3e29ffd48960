//! Lovage: a distributed task queue. Typed tasks are sent by producers and run by workers, over Redis or in one process.

pub use lovage_core::{
    Ack, Backoff, CancellationToken, Place, Priority, Registry, State, States, TaskContext,
    TaskDef, TaskError, TaskId, TaskOptions, hours, mins, ms, secs,
};
pub use lovage_macros::task;

/// What `#[task]` writes refers to these items, so that a crate of tasks needs no dependency but this one.
#[doc(hidden)]
pub mod macro_support {
    pub use lovage_core::inventory;
    pub use lovage_core::*;
    pub use serde;
}
