//! The worker against the memory broker: what becomes of tasks, and how a worker works and ends.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests that call them"
)]

mod callbacks;
mod ending;
mod layered;
mod outcomes;
mod process;
mod support;
mod working;
