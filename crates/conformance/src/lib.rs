//! The laws of a broker: what `lovage_core` promises of `Broker` and its companions, one async function each.
//!
//! A broker's crate runs all of them with one line, [`suite!`]. A law takes a [`Harness`], which makes an empty
//! broker on a clock that the law moves; so every broker meets the same laws at the same instants.

mod harness;
pub mod laws;
mod suite;
mod world;

pub use harness::{Harness, WholeBroker};
pub use world::{LEASE, PATIENCE, World, payload};
