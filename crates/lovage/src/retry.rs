//! What a failed attempt at an enqueue call leads to: another one until the deadline, or an honest error.

use std::time::Duration;

use lovage_core::{Backoff, Encoded, EnqueueError, TransportError, hours, ms};
use tokio::time::{Instant, sleep};

/// A broker that is back is found within a quarter of a second, and one that is away is not asked more often.
const BACKOFF: Backoff = Backoff::exponential(ms(10)).cap(ms(250));

/// No attempt is begun with less time than this: the deadline would cut it off, and what it did would be unknown.
const ATTEMPT_MIN: Duration = ms(50);

/// The attempts at one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Instant,
    made: u32,
    ambiguous: bool,
    repeats_unknown: bool,
    began: Instant,
    /// The longest that an attempt took until it was refused: that of a connection that could not be made.
    refused_after: Duration,
}

impl Attempts {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            made: 0,
            ambiguous: false,
            repeats_unknown: true,
            began: Instant::now(),
            refused_after: Duration::ZERO,
        }
    }

    /// The attempts at storing `tasks`.
    ///
    /// An id is free again once its task is gone, unless it is remembered: a repeated send that meets a finished first copy
    /// runs it again. At-most-once tasks must not, so a missing answer ends the attempts at those without an idempotency key.
    pub(crate) fn at(tasks: &[Encoded], deadline: Instant) -> Self {
        let repeats_unknown = tasks.iter().all(Encoded::may_be_repeated);
        Self {
            repeats_unknown,
            ..Self::until(deadline)
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits before the next attempt; `false` at once if the deadline leaves no time for one.
    pub(crate) async fn pause(&mut self) -> bool {
        self.made += 1;
        let pause = BACKOFF.delay(self.made, fastrand::f64());
        // Where nothing can be in doubt yet, an attempt that the deadline is likely to cut off would put it there.
        let least = if self.ambiguous {
            ATTEMPT_MIN
        } else {
            ATTEMPT_MIN.max(self.refused_after)
        };
        let time = Instant::now() + pause + least < self.deadline;
        if time {
            sleep(pause).await;
            self.began = Instant::now();
        }
        time
    }

    /// Waits before the next attempt, or says why there is none.
    ///
    /// An attempt without an answer may have stored the tasks, so whatever a later one says, the end of it is
    /// [`EnqueueError::Unknown`]. Making another is safe for tasks that may run more than once: the ids are the same.
    pub(crate) async fn failed(&mut self, error: EnqueueError) -> Result<(), EnqueueError> {
        self.ambiguous |= matches!(error, EnqueueError::Unknown(_));
        if matches!(error, EnqueueError::Refused(_)) {
            self.refused_after = self.refused_after.max(self.began.elapsed());
        }
        let may_pass = match error {
            EnqueueError::Unknown(_) => self.repeats_unknown,
            EnqueueError::Refused(_) => true,
            _ => false,
        };
        if may_pass && self.pause().await {
            return Ok(());
        }
        Err(match error {
            EnqueueError::Refused(source) | EnqueueError::Misconfigured(source)
                if self.ambiguous =>
            {
                EnqueueError::Unknown(source)
            }
            EnqueueError::QueueFull { .. } if self.ambiguous => {
                EnqueueError::Unknown(TransportError::new(error))
            }
            other => other,
        })
    }
}

/// The instant `span` from now; a span beyond what the clock can name is thirty years.
pub(crate) fn instant_in(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span)
        .unwrap_or_else(|| now + hours(30 * 365 * 24))
}
