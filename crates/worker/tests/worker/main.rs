//! The worker against the memory broker: what becomes of tasks, and how a worker works and ends.

mod outcomes;
mod support;
mod working;
