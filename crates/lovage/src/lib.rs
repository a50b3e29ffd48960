//! Lovage: a distributed task queue. Typed tasks are sent by producers and run by workers, over Redis or in one process.

// With neither broker built in, AnyBroker has no value: a crate of tasks can still be built so, and name a Client.
#![cfg_attr(
    not(any(feature = "redis", feature = "memory")),
    expect(unused_variables, unreachable_code, reason = "see above")
)]

mod any_broker;
mod bulk;
mod client;
mod error;
mod gather;
mod handle;
pub mod prelude;
mod retry;
mod send;
#[cfg(feature = "memory")]
pub mod testing;
pub mod worker;

pub use any_broker::AnyBroker;
pub use client::{Client, ClientBuilder, DEADLINE_DEFAULT};
pub use error::{ConnectError, ControlError, SendAllError, SendError, WaitError};
pub use handle::Handle;
pub use lovage_core::{
    Ack, Backoff, CancellationToken, Cancelled, Clock, Counts, DeadLetter, Failure, FailureKind,
    ManualClock, Millis, Place, Priority, QueueName, Registry, State, States, Task, TaskContext,
    TaskDef, TaskError, TaskId, TaskOptions, TraceContext, hours, mins, ms, secs,
};
#[cfg(feature = "macros")]
pub use lovage_macros::task;
pub use send::{IntoSending, Sending};

/// What `#[task]` writes refers to these items, so that a crate of tasks needs no dependency but this one.
#[doc(hidden)]
pub mod macro_support {
    pub use lovage_core::inventory;
    pub use lovage_core::*;
    pub use serde;
}
