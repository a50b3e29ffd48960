//! What a task's body may answer when it fails, and what is kept of it.

mod carried;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::advice::{Advice, Advised};

pub use carried::CarriedError;

/// The longest text kept of one error message, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The most causes kept of one error.
pub const CAUSES_MAX: usize = 16;

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
    pub fn to_failure(&self) -> Failure {
        let mut texts = self.source.chain().map(|cause| bounded(cause.to_string()));
        let message = texts.next().unwrap_or_default();
        Failure {
            kind: self.kind,
            message,
            causes: texts.take(CAUSES_MAX).collect(),
        }
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

fn bounded(mut text: String) -> String {
    if MESSAGE_BYTES_MAX < text.len() {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push('…');
    }
    text
}

/// The kinds of failure, by what somebody would do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The body answered `Err`.
    Error,
    /// The body panicked.
    Panic,
    /// The body ran longer than its limit.
    Timeout,
    /// The child process that the body ran in ended without an answer: killed by a signal, out of memory, or by itself.
    Crashed,
    /// The bytes of the message or of its arguments could not be read.
    Malformed,
    /// No worker knew a task of this name within the grace period.
    UnknownTask,
    /// Its workers died while they held it, too often.
    Lost,
    /// An at-most-once task whose worker died while it held it: it may have run in part, and does not run again.
    Abandoned,
    /// A kind that a newer version wrote.
    #[serde(other)]
    Other,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::Malformed => "malformed",
            Self::UnknownTask => "unknown_task",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
            Self::Other => "other",
        })
    }
}

/// What is kept of a failure: in the result that a sender waits for, and beside a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The outermost message.
    #[serde(default)]
    pub message: String,
    /// The messages of its causes, outermost first, at most [`CAUSES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Failure {
    /// A failure without causes.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: bounded(message.to_string()),
            causes: Vec::new(),
        }
    }

    /// The bytes as stored: MessagePack with named fields.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("texts and a unit enum always encode")
    }

    /// Reads the stored bytes; anything unreadable becomes a failure that says so, since it is only ever shown.
    pub fn decode(bytes: &[u8]) -> Self {
        rmp_serde::from_slice(bytes).unwrap_or_else(|error| {
            Self::new(
                FailureKind::Other,
                format!("unreadable failure record: {error}"),
            )
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn failures_survive_the_wire_and_rubbish_is_shown_as_such() {
        let failure = Failure::new(FailureKind::Lost, "three workers died");
        assert_eq!(Failure::decode(&failure.encode()), failure);
        assert_eq!(Failure::decode(b"\xc1").kind, FailureKind::Other);
    }
}
