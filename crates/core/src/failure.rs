//! What is kept of a failure: for the sender, and with more of it beside a dead letter.

use std::fmt;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// The longest text kept of one error message, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The most causes kept of one error.
pub const CAUSES_MAX: usize = 16;
/// The longest backtrace kept, in bytes: the rest, which is the outermost calls, is cut.
pub const BACKTRACE_BYTES_MAX: usize = 16 * 1024;

/// A text of an error, cut to [`MESSAGE_BYTES_MAX`].
pub(crate) fn message(text: impl fmt::Display) -> String {
    bounded(text.to_string(), MESSAGE_BYTES_MAX)
}

/// The text, cut to so many bytes and marked where it was.
pub(crate) fn bounded(mut text: String, bytes_max: usize) -> String {
    if bytes_max < text.len() {
        text.truncate(text.floor_char_boundary(bytes_max));
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

/// What is kept of a failure: in the result that a sender waits for, and, with [`Self::run`], beside a dead letter.
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
    /// What is known of the run that failed. A sender is not told it.
    #[serde(skip)]
    pub run: Option<Box<FailedRun>>,
}

/// What is known of the run that made a task a dead letter: where and when, and how it came there. A part that nobody
/// knew is `None`: a lost worker left no process id, a record of an earlier version has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FailedRun {
    /// The number of the attempt, 1 for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How often a worker was lost while it held the task, this time included if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losses: Option<u32>,
    /// The identity of the worker, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The host that the worker ran on, by its own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The process of the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When the worker claimed the task, by the broker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Millis>,
    /// How long the body ran, by the worker's clock; whole milliseconds in what is stored, rounded up.
    #[serde(
        rename = "ran_ms",
        with = "span",
        skip_serializing_if = "Option::is_none"
    )]
    pub ran: Option<Duration>,
    /// Where the body panicked: `FILE:LINE:COLUMN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The innermost calls, at most [`BACKTRACE_BYTES_MAX`] of them, where the worker captures them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<String>,
}

impl Failure {
    /// A failure without causes.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: self::message(message),
            causes: Vec::new(),
            run: None,
        }
    }

    /// What is known of the run, to add to it.
    pub fn run_mut(&mut self) -> &mut FailedRun {
        self.run.get_or_insert_default()
    }

    /// The bytes as stored: a MessagePack map of what a sender is told, and behind it one of the run, if any is known.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = rmp_serde::to_vec_named(self).expect("texts and a unit enum always encode");
        if let Some(run) = &self.run {
            rmp_serde::encode::write_named(&mut bytes, run)
                .expect("texts and numbers always encode");
        }
        bytes
    }

    /// The first part of stored bytes, which a sender is told; all of them where they are none.
    pub fn told(bytes: &[u8]) -> &[u8] {
        let mut rest = bytes;
        let read = IgnoredAny::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
        match read {
            Ok(_) => &bytes[..bytes.len() - rest.len()],
            Err(_) => bytes,
        }
    }

    /// Reads the stored bytes; anything unreadable becomes a failure that says so, since it is only ever shown.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
        match Self::deserialize(&mut reader) {
            Ok(failure) => Self {
                // Absent in old records. A part that is not as it should be is no reason to lose the rest.
                run: FailedRun::deserialize(&mut reader).ok().map(Box::new),
                ..failure
            },
            Err(error) => Self::new(
                FailureKind::Other,
                format!("unreadable failure record: {error}"),
            ),
        }
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

/// A span in milliseconds.
mod span {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Serialize, Serializer};

    use crate::time::span_ms;

    #[expect(clippy::ref_option, reason = "serde hands the field over like this")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(span_ms).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        value: D,
    ) -> Result<Option<Duration>, D::Error> {
        let ms = Option::<u64>::deserialize(value)?;
        Ok(ms.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ms;

    fn known() -> Failure {
        let mut failure = Failure::new(FailureKind::Panic, "boom");
        failure.causes = vec!["a bomb".to_owned()];
        *failure.run_mut() = FailedRun {
            attempt: Some(3),
            claimed_at: Some(Millis::new(1_000_000_000_000)),
            ran: Some(ms(250)),
            location: Some("src/mail.rs:7:5".to_owned()),
            ..FailedRun::default()
        };
        failure
    }

    #[test]
    fn failures_survive_the_wire_and_rubbish_is_shown_as_such() {
        for failure in [
            Failure::new(FailureKind::Lost, "three workers died"),
            known(),
        ] {
            assert_eq!(Failure::decode(&failure.encode()), failure);
        }
        assert_eq!(Failure::decode(b"\xc1").kind, FailureKind::Other);
    }

    #[test]
    fn the_span_of_a_run_is_a_number_of_milliseconds_in_what_is_stored() {
        let run = FailedRun {
            ran: Some(ms(250)),
            ..FailedRun::default()
        };
        let stored = rmp_serde::to_vec_named(&run).unwrap();
        let number = std::collections::BTreeMap::from([("ran_ms", 250)]);
        assert_eq!(stored, rmp_serde::to_vec_named(&number).unwrap());
        assert_eq!(rmp_serde::from_slice::<FailedRun>(&stored).unwrap(), run);
        let none = rmp_serde::to_vec_named(&FailedRun::default()).unwrap();
        assert_eq!(none, b"\x80");
    }

    #[test]
    fn a_sender_is_told_the_reason_and_not_the_run() {
        let (whole, run) = (known().encode(), known().run);
        let told = Failure::decode(Failure::told(&whole));
        let without = Failure {
            run: None,
            ..known()
        };
        assert_eq!((told, run.is_some()), (without, true));
        assert_eq!(Failure::told(b"\xc1"), b"\xc1");
    }

    #[test]
    fn keys_that_a_newer_version_wrote_are_ignored() {
        let mut bytes = Failure::new(FailureKind::Error, "no").encode();
        bytes.extend(
            rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("moon", 1), ("pid", 7)]))
                .unwrap(),
        );
        assert_eq!(Failure::decode(&bytes).run.unwrap().pid, Some(7));
    }
}
