//! What can be set for a task: by its attribute, and again at each send.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::callbacks::{FailedTask, OnFailure};
use crate::retry::{Backoff, RetryPolicy};
use crate::task::Task;
use crate::time::hours;

/// The order of tasks within a queue: 0 to 9, higher first, 5 unless set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const MAX: Self = Self(9);
    /// The number of levels.
    pub const LEVELS: usize = 10;

    /// The priority `level`; higher ones than 9 become 9.
    pub const fn new(level: u8) -> Self {
        if level <= 9 { Self(level) } else { Self::MAX }
    }

    /// The level, 0 to 9.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// When a task counts as taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ack {
    /// When it has run: a lost worker's task runs again (at least once).
    #[default]
    Late,
    /// When a worker takes it: a lost worker's task is buried as abandoned and never starts twice (at most once).
    Early,
}

/// The options of a task. `None` is "not set here": the task's own, then the default.
#[derive(Clone, Debug, Default)]
#[must_use = "options change nothing by themselves"]
#[non_exhaustive]
pub struct TaskOptions {
    /// The queue it is sent to; `default` unless set.
    pub queue: Option<Cow<'static, str>>,
    /// Attempts after the first; 3 unless set, 0 for at-most-once tasks.
    pub max_retries: Option<u32>,
    /// The spans between attempts.
    pub backoff: Option<Backoff>,
    /// After this span the run's token is cancelled; an async body that has not ended a grace later is aborted.
    pub timeout: Option<Duration>,
    /// After this span an async body is aborted at once.
    pub hard_timeout: Option<Duration>,
    /// The order within the queue.
    pub priority: Option<Priority>,
    /// The span from the send after which it must not start.
    pub expires: Option<Duration>,
    /// How long its result is kept.
    pub result: Option<ResultPolicy>,
    /// When it counts as taken.
    pub ack: Option<Ack>,
    /// The task that is sent when it has failed for good.
    pub on_failure: Option<OnFailure>,
}

/// What becomes of a task's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultPolicy {
    /// It is kept for this span.
    Keep(Duration),
    /// It is not kept.
    Ignore,
}

impl Default for ResultPolicy {
    /// One day, as in Celery.
    fn default() -> Self {
        Self::Keep(hours(24))
    }
}

impl TaskOptions {
    /// The queue unless one is set.
    pub const QUEUE_DEFAULT: &'static str = "default";

    /// No option set.
    pub const fn new() -> Self {
        Self {
            queue: None,
            max_retries: None,
            backoff: None,
            timeout: None,
            hard_timeout: None,
            priority: None,
            expires: None,
            result: None,
            ack: None,
            on_failure: None,
        }
    }

    /// Sends the task to `queue`.
    pub fn queue(mut self, queue: impl Into<Cow<'static, str>>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Allows `retries` attempts after the first.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Spaces the attempts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Cancels the run's token after `limit`.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Aborts an async body after `limit`, and kills the process of one that has a process to itself.
    pub fn hard_timeout(mut self, limit: Duration) -> Self {
        self.hard_timeout = Some(limit);
        self
    }

    /// Orders the task within its queue: 0 to 9, higher first.
    pub fn priority(mut self, level: u8) -> Self {
        self.priority = Some(Priority::new(level));
        self
    }

    /// Lets the task expire `span` after it is sent.
    pub fn expires(mut self, span: Duration) -> Self {
        self.expires = Some(span);
        self
    }

    /// Keeps the result for `span`.
    pub fn result_ttl(mut self, span: Duration) -> Self {
        self.result = Some(ResultPolicy::Keep(span));
        self
    }

    /// Keeps no result.
    pub fn ignore_result(mut self) -> Self {
        self.result = Some(ResultPolicy::Ignore);
        self
    }

    /// Says when the task counts as taken.
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = Some(ack);
        self
    }

    /// Sends the task that `callback` builds when this one has failed for good.
    pub fn on_failure<T: Task>(mut self, callback: fn(FailedTask) -> T) -> Self {
        self.on_failure = Some(OnFailure::of(callback));
        self
    }

    /// The options of `self`, and those of `under` where `self` sets none.
    pub fn over(self, under: Self) -> Self {
        Self {
            queue: self.queue.or(under.queue),
            max_retries: self.max_retries.or(under.max_retries),
            backoff: self.backoff.or(under.backoff),
            timeout: self.timeout.or(under.timeout),
            hard_timeout: self.hard_timeout.or(under.hard_timeout),
            priority: self.priority.or(under.priority),
            expires: self.expires.or(under.expires),
            result: self.result.or(under.result),
            ack: self.ack.or(under.ack),
            on_failure: self.on_failure.or(under.on_failure),
        }
    }

    /// The retry policy that these options make.
    ///
    /// At-most-once tasks are not retried unless that is asked for.
    pub fn retry_policy(&self) -> RetryPolicy {
        let retries_default = match self.ack.unwrap_or_default() {
            Ack::Late => RetryPolicy::default().max_retries,
            Ack::Early => 0,
        };
        RetryPolicy {
            max_retries: self.max_retries.unwrap_or(retries_default),
            backoff: self.backoff.unwrap_or_default(),
        }
    }
}
