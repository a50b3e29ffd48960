//! What can happen to a queue, a file each: plain functions over its data and an instant.

mod cancel;
mod claim;
mod enqueue;
mod look;
mod membership;
mod recover;
mod revive;
mod settle;
