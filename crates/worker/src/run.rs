//! One run of one task, as the tower layers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{Handler, Lane, TaskContext};

use crate::lanes::Slot;
use crate::tenure::Tenure;

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
    /// The task's own limit, for the process lane.
    pub(crate) memory: Option<u64>,
    pub(crate) limits: Limits,
    pub(crate) slot: Slot,
    pub(crate) start: Arc<Start>,
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

/// Whether a body may begin: asked for the last time right before it does, as layers and threads take their time.
#[derive(Debug)]
pub(crate) struct Start {
    tenure: Arc<Tenure>,
    begun: AtomicU8,
}

/// What `begun` says: nothing is decided.
const OPEN: u8 = 0;
/// The body has begun, or may have.
const BEGUN: u8 = 1;
/// It has not, and will not: its task is given back.
const REFUSED: u8 = 2;
/// The same, since what it was to run in is not fit: its task is put off.
const UNFIT: u8 = 3;

impl Start {
    pub(crate) fn new(tenure: Arc<Tenure>) -> Self {
        Self {
            tenure,
            begun: AtomicU8::new(OPEN),
        }
    }

    /// Whether the body may begin now; a refusal is for good.
    pub(crate) fn may_begin(&self, context: &TaskContext) -> bool {
        // A process that was frozen wakes up here: others may run this task already (guarantee 2).
        let may = self.tenure.is_good_now() && !context.is_cancelled();
        if !may {
            self.refuse();
        }
        may
    }

    /// Whether the body begins now: right before it does.
    pub(crate) fn begins(&self, context: &TaskContext) -> bool {
        self.may_begin(context) && self.decide(BEGUN) == BEGUN
    }

    /// Gives the run up, and answers whether its body has not begun and never will.
    pub(crate) fn give_up(&self) -> bool {
        self.decide(REFUSED) != BEGUN
    }

    /// Decides unless it is decided, and answers how.
    fn decide(&self, how: u8) -> u8 {
        let decided = self
            .begun
            .compare_exchange(OPEN, how, Ordering::AcqRel, Ordering::Acquire);
        decided.map_or_else(|before| before, |_| how)
    }

    /// For how many nanoseconds from now the body may begin.
    #[cfg(unix)]
    pub(crate) fn good_for_ns(&self) -> u64 {
        let left = self.tenure.good_for();
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn refuse(&self) {
        self.begun.store(REFUSED, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.begun.load(Ordering::Acquire) == REFUSED
    }

    pub(crate) fn is_unfit(&self) -> bool {
        self.begun.load(Ordering::Acquire) == UNFIT
    }

    /// Refuses, since what the body was to run in is not fit.
    #[cfg(unix)]
    pub(crate) fn find_unfit(&self) {
        self.begun.store(UNFIT, Ordering::Release);
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
