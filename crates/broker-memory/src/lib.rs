//! The embedded broker: the contract of `lovage_core` kept in the memory of one process.
//!
//! It is what `memory://` runs on, what tests run on, and the model that the Redis broker is compared with. It is
//! written to be read: one mutex over plain data (`queue`, and `beat` for the schedules), one file a transition (`transitions`), and a handle that
//! locks, applies a transition and waits (`broker`). Nothing outlives the process.

mod beat;
mod broker;
mod checkup;
mod dead_letters;
mod durable;
mod locks;
mod partitions;
mod queue;
mod reports;
mod transitions;

pub use broker::MemoryBroker;
