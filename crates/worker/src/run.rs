//! One run of one task, as the tower layers see it.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::{Handler, Lane, TaskContext};

use crate::lanes::Slot;

/// The request of the service that runs tasks: what the user's own layers wrap.
///
/// The service answers the encoded result or a [`TaskError`](lovage_core::TaskError); a layer that answers by itself
/// ends the run without starting the body.
#[derive(Debug)]
pub struct Run {
    pub(crate) context: TaskContext,
    pub(crate) args: Bytes,
    pub(crate) handler: Handler,
    pub(crate) lane: Lane,
    pub(crate) limits: Limits,
    pub(crate) slot: Slot,
}

impl Run {
    /// What the body will see: id, task, queue, attempt, headers, cancellation.
    pub fn context(&self) -> &TaskContext {
        &self.context
    }

    /// The encoded arguments.
    pub fn args(&self) -> &Bytes {
        &self.args
    }

    /// Where the body runs.
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Then its token is cancelled.
    pub(crate) soft: Option<Duration>,
    /// Then it is given up.
    pub(crate) hard: Option<Duration>,
}
