//! Lovage: a distributed task queue. Typed tasks are sent by producers and run by workers, over Redis or in one process.
//!
//! ```standalone_crate
//! use lovage::prelude::*;
//!
//! /// A task is a function; its name with arguments is a message.
//! #[task(queue = "mail", max_retries = 5, timeout = secs(30))]
//! async fn send_receipt(order: u64, to: String) -> anyhow::Result<String> {
//!     Ok(format!("receipt of order {order} sent to {to}"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! let client = Client::connect("memory://").await?; // or redis://localhost
//! let worker = client.worker().start().await?; // or any number of processes: worker::run_cli
//!
//! let handle = client.send(send_receipt(7, "ada@example.org")).countdown(ms(10)).await?;
//! println!("{}", handle.wait(secs(30)).await?);
//! # worker.shutdown().await; Ok(()) }
//! ```
//!
//! - [`Client`] sends, waits for results and looks after queues; [`Sending`] lists what can be set for one send.
//! - [`#[task]`](macro@task) makes a task of a function; [`TaskContext`] and [`State`] are what its body may ask for.
//! - [`#[periodic]`](macro@periodic) sends a task when a schedule says; [`beat`] fires schedules and changes them.
//! - [`dead_letters`] revives, edits and purges what has failed for good.
//! - `acl` names what a user of Redis must be allowed to do, for each role.
//! - [`doctor`] looks whether all that is stored is in order, and puts right what is not.
//! - [`worker`] runs tasks inside a program, or makes a worker of it; [`process`] runs risky ones in child processes.
//! - [`testing`] runs a program's tasks in its tests, on a clock that stands still.
//!
//! # Features
//! On by default: `redis` and `memory` (the brokers), `macros`, `beat` (schedules). Off by default: `spool` (what the
//! broker does not take now waits on this host's disk).

// With neither broker built in, AnyBroker has no value: a crate of tasks can still be built so, and name a Client.
#![cfg_attr(
    not(any(feature = "redis", feature = "memory")),
    expect(unused_variables, unreachable_code, reason = "see above")
)]

mod any_broker;
#[cfg(feature = "beat")]
pub mod beat;
mod bulk;
mod client;
pub mod dead_letters;
mod deliver;
pub mod doctor;
mod error;
pub mod fence;
mod gather;
mod handle;
mod partition;
pub mod prelude;
pub mod process;
mod reach;
mod reports;
mod retry;
mod send;
#[cfg(feature = "spool")]
mod spool;
#[cfg(feature = "memory")]
pub mod testing;
pub mod worker;

pub use any_broker::AnyBroker;
pub use client::{Client, ClientBuilder, DEADLINE_DEFAULT, WAITING_BYTES_DEFAULT};
pub use error::{ConnectError, ControlError, SendAllError, SendError, WaitError};
pub use handle::Handle;
#[cfg(feature = "beat")]
pub use lovage_beat::{Fold, Gap, Misfire, Overlap, Schedule, SolarEvent};
#[cfg(feature = "redis")]
pub use lovage_broker_redis::acl;
pub use lovage_core::{
    AccessError, AccessFile, AccessFiles, Ack, Backoff, BrokerError, CancellationToken, Cancelled,
    Clock, Confirmation, Counts, DeadLetter, Durability, EncodeError, Envelope, FailedRun,
    FailedTask, Failure, FailureKind, KnownWorker, Looked, Loss, LostWorker, ManualClock, Millis,
    NameError, Place, Priority, Progress, QueueName, Registry, RegistryBuilder, RegistryError,
    Rescheduled, ResultPolicy, Revived, RunningTask, Scheduled, State, States, Task, TaskContext,
    TaskDef, TaskError, TaskId, TaskOptions, TaskResultExt, TraceContext, TransportError, Unique,
    UniqueError, Until, When, WorkerId, WorkerReport, gib, hours, kib, mib, mins, ms, secs,
};
#[cfg(all(feature = "beat", feature = "macros"))]
pub use lovage_macros::periodic;
#[cfg(feature = "macros")]
pub use lovage_macros::task;
pub use partition::PartitionError;
pub use send::{IntoSending, Sending};
#[cfg(feature = "spool")]
pub use spool::{SetAside, Spool, SpoolConfig, SpoolError, SpoolStats};

/// What `#[task]` and `#[periodic]` write refers to these items, so that a crate of tasks needs no dependency but this one.
#[doc(hidden)]
pub mod macro_support {
    #[cfg(feature = "beat")]
    pub use lovage_beat::{Entry, IntoInstant, Periodic, PeriodicDef, Schedule};
    pub use lovage_core::inventory;
    pub use lovage_core::*;
    pub use serde;
}
