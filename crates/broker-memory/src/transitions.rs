//! What can happen to a queue and to the schedules, a file each: plain functions over its data and an instant.

mod amend;
mod callbacks;
mod cancel;
mod claim;
mod dead_letters;
pub(crate) mod enqueue;
mod forward;
mod lead;
mod look;
mod membership;
mod partition;
mod recover;
mod reschedule;
mod revive;
mod settle;
