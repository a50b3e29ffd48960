//! What most programs use: `use lovage::prelude::*;`.

#[cfg(feature = "macros")]
pub use crate::task;
pub use crate::{
    Ack, Backoff, Client, Handle, State, TaskContext, TaskError, hours, mins, ms, secs,
};
