//! What a task's body may answer when it fails.

mod carried;

use std::backtrace::BacktraceStatus;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::advice::{Advice, Advised};
use crate::failure::{BACKTRACE_BYTES_MAX, CAUSES_MAX, Failure, FailureKind, bounded, message};

pub use carried::CarriedError;

/// Why a run failed. Made from any error by `?`; then it is retried by the task's policy.
///
/// ```
/// use lovage_core::{TaskError, secs};
///
/// let error = TaskError::new("the mail server is away").retry_after(secs(30));
/// assert!(!error.is_permanent());
/// ```
#[derive(Debug)]
pub struct TaskError {
    kind: FailureKind,
    source: anyhow::Error,
    advice: Advice,
    /// Of an error that is made elsewhere than where it happened.
    panicked: Option<Box<Panicked>>,
}

/// Where a panic was, or an error that another process told.
#[derive(Debug)]
struct Panicked {
    location: Option<String>,
    backtrace: Option<String>,
}

impl TaskError {
    /// A failure with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::of_kind(FailureKind::Error, anyhow::Error::msg(message.to_string()))
    }

    /// A failure that no further attempt can mend: it goes to the dead letters at once.
    pub fn permanent(error: impl Into<Self>) -> Self {
        Self {
            advice: Advice::Permanent,
            ..error.into()
        }
    }

    /// The body panicked with this message.
    pub fn panicked(message: impl fmt::Display) -> Self {
        Self::of_kind(FailureKind::Panic, anyhow::Error::msg(message.to_string()))
    }

    /// The body panicked with this message at this place of the source, `FILE:LINE:COLUMN`.
    pub fn panicked_at(
        message: impl fmt::Display,
        location: String,
        backtrace: Option<String>,
    ) -> Self {
        let panicked = Panicked {
            location: Some(location),
            backtrace,
        };
        Self {
            panicked: Some(Box::new(panicked)),
            ..Self::panicked(message)
        }
    }

    /// The body ran longer than `limit`.
    pub fn timed_out(limit: Duration) -> Self {
        Self::of_kind(
            FailureKind::Timeout,
            anyhow::anyhow!("ran longer than its limit of {limit:?}"),
        )
    }

    /// The process that the body ran in ended without an answer. `told` is how and why, `last_words` what it wrote to
    /// standard error at the end; it becomes the cause.
    pub fn crashed(told: impl fmt::Display, last_words: &str) -> Self {
        let told = told.to_string();
        let source = if last_words.is_empty() {
            anyhow::Error::msg(told)
        } else {
            anyhow::Error::msg(last_words.to_owned()).context(told)
        };
        Self::of_kind(FailureKind::Crashed, source)
    }

    /// The message cannot be run, now or ever: its bytes are not what this task takes.
    pub fn malformed(error: impl Into<anyhow::Error>) -> Self {
        Self {
            advice: Advice::Permanent,
            ..Self::of_kind(FailureKind::Malformed, error.into())
        }
    }

    fn of_kind(kind: FailureKind, source: anyhow::Error) -> Self {
        Self {
            kind,
            source,
            advice: Advice::Policy,
            panicked: None,
        }
    }

    /// Makes the next attempt wait `span` instead of the policy's delay. The attempt counts.
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.advice = Advice::RetryAfter(span);
        self
    }

    /// The same as [`retry_after`](Self::retry_after): `ctx.retry("the bank is busy").after(secs(30))`.
    pub fn after(self, span: Duration) -> Self {
        self.retry_after(span)
    }

    /// Makes the task run again after `span`, this run counting as no attempt: see
    /// [`TaskContext::snooze`](crate::TaskContext::snooze).
    pub fn snooze(mut self, span: Duration) -> Self {
        self.advice = Advice::Snooze(span);
        self
    }

    /// Whether no further attempt shall be made.
    pub fn is_permanent(&self) -> bool {
        self.advice == Advice::Permanent
    }

    /// The delay before the next attempt that the error itself asks for.
    pub fn delay(&self) -> Option<Duration> {
        match self.advice {
            Advice::RetryAfter(span) => Some(span),
            _ => None,
        }
    }

    /// How long the task shall sleep, where this run counts as no attempt.
    pub fn snoozes_for(&self) -> Option<Duration> {
        match self.advice {
            Advice::Snooze(span) => Some(span),
            _ => None,
        }
    }

    /// The error for a body that answers `anyhow::Result`. What it asks for comes through.
    pub fn into_anyhow(self) -> anyhow::Error {
        if self.kind == FailureKind::Error && self.advice == Advice::Policy {
            return self.source;
        }
        anyhow::Error::new(Advised(self))
    }

    /// The error itself, with its causes.
    pub(crate) fn error(&self) -> &anyhow::Error {
        &self.source
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The record of this failure that is kept and shown, bounded in size.
    ///
    /// It has a backtrace where the program captures them (`RUST_BACKTRACE` or `RUST_LIB_BACKTRACE`): that of a panic,
    /// or of where the error became `anyhow`'s.
    pub fn to_failure(&self) -> Failure {
        let mut texts = self.source.chain().map(message);
        let message = texts.next().unwrap_or_default();
        let mut failure = Failure {
            kind: self.kind,
            message,
            causes: texts.take(CAUSES_MAX).collect(),
            run: None,
        };
        if let Some(panicked) = &self.panicked {
            let run = failure.run_mut();
            run.location.clone_from(&panicked.location);
            run.backtrace.clone_from(&panicked.backtrace);
        }
        if self.panicked.is_some() {
            return failure;
        }
        let backtrace = self.source.backtrace();
        // What the framework makes of a panic or a timeout says nothing about where.
        if self.kind == FailureKind::Error && backtrace.status() == BacktraceStatus::Captured {
            let text = bounded(backtrace.to_string(), BACKTRACE_BYTES_MAX);
            failure.run_mut().backtrace = Some(text);
        }
        failure
    }
}

/// Everything that `anyhow` takes: any `std::error::Error`, and `anyhow::Error` itself. What a cause asks for, by
/// [`TaskResultExt`](crate::TaskResultExt), the whole asks for.
impl<E: Into<anyhow::Error>> From<E> for TaskError {
    fn from(error: E) -> Self {
        let error = error.into();
        // With a context around it, a downcast would lose that.
        if error.chain().next().is_some_and(<dyn Error>::is::<Advised>) {
            return error.downcast::<Advised>().expect("it was just seen").0;
        }
        let advised = error.chain().find_map(<dyn Error>::downcast_ref);
        match advised {
            Some(Advised(Self { kind, advice, .. })) => Self {
                kind: *kind,
                advice: *advice,
                source: error,
                panicked: None,
            },
            None => Self::of_kind(FailureKind::Error, error),
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::MESSAGE_BYTES_MAX;

    #[test]
    fn a_failure_keeps_the_chain_of_causes() {
        let io = std::io::Error::other("disk full");
        let error = TaskError::from(anyhow::Error::new(io).context("cannot write the report"));
        assert_eq!(
            error.to_failure().to_string(),
            "error: cannot write the report: disk full"
        );
    }

    #[test]
    fn a_failure_is_bounded_whatever_the_error_says() {
        let failure = TaskError::new("ä".repeat(10_000)).to_failure();
        assert!(failure.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    }
}
