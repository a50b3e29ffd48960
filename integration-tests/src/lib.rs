//! Real worker processes against a real redis-server, under real faults.
//!
//! The worker program is `src/bin/test-worker.rs`; its tasks are in [`tasks`] and write what happens to them into a
//! [`Journal`], a file, since a test must know what ran while Redis is away. A [`Stage`] is one redis-server with its
//! workers, [`Audit`] looks at all keys of a queue at one instant, [`History`] compares what was accepted with
//! what ran. The tests themselves are in `tests/real`.

mod audit;
mod history;
mod journal;
mod process;
mod stage;
pub mod tasks;
mod until;

pub use audit::{Audit, Place};
pub use history::{History, Kill, Report};
pub use journal::{Entry, Event, Journal};
pub use process::{WorkerBuilder, WorkerProcess};
pub use stage::{Gate, Stage};
pub use until::{LIMIT, eventually, stays};
