//! Real worker and beat processes against a real redis-server, under real faults.
//!
//! The programs are `src/bin/test-worker.rs` and `src/bin/test-beat.rs`; the tasks are in [`tasks`] and [`risky`] and write what happens to them into a
//! [`Journal`], a file, since a test must know what ran while Redis is away. A [`Stage`] is one redis-server with its
//! workers, a [`Choir`] the beats over it, [`Audit`] looks at all keys of a queue at one instant, [`History`] compares what was accepted with
//! what ran. The tests themselves are in `tests/real`.

pub mod acks;
mod audit;
pub mod chaos;
mod choir;
mod history;
mod journal;
mod process;
pub mod risky;
mod servers;
pub mod soak;
mod stage;
mod stream;
pub mod tasks;
mod until;

pub use audit::{Audit, Place};
pub use choir::{Choir, Tally};
pub use history::{History, Kill, Report};
pub use journal::{Entry, Event, Journal, Taken};
pub use process::{Process, ProcessBuilder};
pub use servers::Servers;
pub use stage::{Gate, Stage};
pub use stream::{Sent, Stream};
pub use until::{LIMIT, eventually, stays};
