//! What most programs use: `use lovage::prelude::*;`.

#[cfg(feature = "beat")]
pub use crate::Schedule;
#[cfg(all(feature = "beat", feature = "macros"))]
pub use crate::periodic;
#[cfg(feature = "macros")]
pub use crate::task;
pub use crate::{
    Ack, Backoff, Client, Durability, FailedTask, Handle, State, TaskContext, TaskError,
    TaskResultExt, Unique, Until, hours, mib, mins, ms, secs,
};
