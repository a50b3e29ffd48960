//! The laws of a broker: what `lovage_core` promises of `Broker` and its companions, one async function each.
//!
//! A broker's crate runs all of them with one line, [`suite!`]. A law takes a [`Harness`], which makes an empty
//! broker on a clock that the law moves; so every broker meets the same laws at the same instants.
//!
//! [`model`] plays random sequences of calls: against one broker with a ledger of what may become of each task, and
//! against two that must answer the same.

mod harness;
pub mod laws;
pub mod model;
mod suite;
mod world;

pub use harness::{Harness, QUEUES, WholeBroker};
pub use suite::{Law, hold, law};
pub use world::{LEASE, PATIENCE, TAIL, World, payload};
