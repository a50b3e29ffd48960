//! The versioned wire form of a task. Its prose, byte for byte, is `docs/protocol.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::callbacks::{Callback, WireCallback};
use crate::ids::{QueueName, TaskId, TaskName};
use crate::options::{Ack, Priority};
use crate::retry::{Backoff, WireBackoff};
use crate::time::{Millis, span_ms};
use crate::unique::{Lock, WireLock};

pub mod edit;
mod encoded;

pub use encoded::{Encoded, Remembered};

/// The version that this build writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// The size of the fixed part, in bytes.
pub const HEADER_BYTES: usize = 38;
/// The largest envelope, in bytes, at both ends.
pub const ENVELOPE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The deepest nesting of arguments, at both ends.
pub const ARGS_DEPTH_MAX: usize = 64;
/// The most headers that a sender may add, at both ends.
pub const HEADERS_MAX: usize = 64;

mod flag {
    pub(super) const ACK_EARLY: u8 = 1;
    pub(super) const START: u8 = 1 << 1;
    pub(super) const START_RELATIVE: u8 = 1 << 2;
    pub(super) const EXPIRES: u8 = 1 << 3;
    pub(super) const EXPIRES_RELATIVE: u8 = 1 << 4;
    pub(super) const UNIQUE: u8 = 1 << 5;
    pub(super) const CALLS_BACK: u8 = 1 << 6;
}

mod at {
    pub(super) const FLAGS: usize = 1;
    pub(super) const PRIORITY: usize = 2;
    pub(super) const ATTEMPTS: std::ops::Range<usize> = 4..6;
    pub(super) const ID: std::ops::Range<usize> = 6..22;
    pub(super) const START: std::ops::Range<usize> = 22..30;
    pub(super) const EXPIRES: std::ops::Range<usize> = 30..38;
}

/// A point in time as a sender says it. The broker's clock makes spans into instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the broker accepts the task.
    In(Duration),
    /// At this instant.
    At(Millis),
}

/// A W3C trace context (<https://www.w3.org/TR/trace-context/>), carried and not interpreted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header.
    #[serde(rename = "p")]
    pub traceparent: String,
    /// The `tracestate` header, perhaps empty.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub tracestate: String,
}

/// A task as it is sent: who and where, its options, and its arguments as opaque bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The identity.
    pub id: TaskId,
    /// The name by which a worker finds the body.
    pub task: TaskName,
    /// The queue it was sent to.
    pub queue: QueueName,
    /// The arguments: one MessagePack value.
    pub args: Bytes,
    /// The order within the queue.
    pub priority: Priority,
    /// When it counts as taken.
    pub ack: Ack,
    /// The attempts that ended so far. The broker counts them.
    pub attempts: u16,
    /// When it is due; `None` is at once.
    pub start: Option<When>,
    /// The instant after which it must not start.
    pub expires: Option<When>,
    /// When it was sent, by the sender's clock; for people, nothing depends on it.
    pub sent_at: Millis,
    /// Attempts after the first, where the sender set it.
    pub max_retries: Option<u32>,
    /// The spans between attempts, where the sender set them. A custom one does not travel.
    pub backoff: Option<Backoff>,
    /// The soft limit of a run, where the sender set it.
    pub timeout: Option<Duration>,
    /// The hard limit of a run, where the sender set it.
    pub hard_timeout: Option<Duration>,
    /// How long the result is kept; `None` keeps none.
    pub result_ttl: Option<Duration>,
    /// The key that it wants to hold.
    pub unique: Option<Lock>,
    /// How long its idempotency key is remembered, however it ends: sent again within this span, it is the same task. The
    /// key is told by the first twelve bytes of the id.
    pub remembered: Option<Duration>,
    /// The first task of the tree that this one belongs to.
    pub root: Option<TaskId>,
    /// The task that sent this one.
    pub parent: Option<TaskId>,
    /// The trace that this task continues.
    pub trace: Option<TraceContext>,
    /// What else the sender wants carried.
    pub headers: BTreeMap<String, String>,
    /// What is sent when it has failed for good.
    pub on_failure: Option<Callback>,
}

/// The MessagePack map behind the fixed part. Unknown keys are ignored, absent ones have the default.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(rename = "t")]
    task: &'a str,
    #[serde(rename = "q")]
    queue: &'a str,
    #[serde(rename = "s")]
    sent_at: u64,
    #[serde(rename = "a", with = "serde_bytes")]
    args: &'a [u8],
    #[serde(rename = "mr", default, skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    backoff: Option<WireBackoff>,
    #[serde(rename = "to", default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(rename = "ht", default, skip_serializing_if = "Option::is_none")]
    hard_timeout_ms: Option<u64>,
    #[serde(rename = "rt", default, skip_serializing_if = "Option::is_none")]
    result_ttl_ms: Option<u64>,
    #[serde(rename = "u", borrow, default, skip_serializing_if = "Option::is_none")]
    unique: Option<WireLock<'a>>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    remembered_ms: Option<u64>,
    #[serde(
        rename = "ro",
        borrow,
        default,
        skip_serializing_if = "Option::is_none"
    )]
    root: Option<&'a serde_bytes::Bytes>,
    #[serde(
        rename = "pa",
        borrow,
        default,
        skip_serializing_if = "Option::is_none"
    )]
    parent: Option<&'a serde_bytes::Bytes>,
    #[serde(rename = "tr", default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceContext>,
    #[serde(rename = "h", default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(rename = "of", default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<WireCallback>,
}

/// Why a message could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The whole is larger than [`ENVELOPE_BYTES_MAX`].
    #[error(
        "task {task} takes {size} bytes, the limit is {ENVELOPE_BYTES_MAX}; store large data elsewhere and send its place"
    )]
    TooLarge {
        /// The name of the task.
        task: TaskName,
        /// The size of its envelope, in bytes.
        size: usize,
    },
    /// The arguments nest deeper than [`ARGS_DEPTH_MAX`], or are not MessagePack.
    #[error(
        "the arguments of task {task} cannot be sent (nesting is limited to {ARGS_DEPTH_MAX}): {reason}"
    )]
    Args {
        /// The name of the task.
        task: TaskName,
        /// What was wrong.
        reason: String,
    },
    /// There are more headers than [`HEADERS_MAX`].
    #[error("task {task} has {count} headers, the limit is {HEADERS_MAX}")]
    Headers {
        /// The name of the task.
        task: TaskName,
        /// How many headers it has.
        count: usize,
    },
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a newer build: a worker that understands it may be on its way.
    #[error("envelope version {found} is not known, this build reads version {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Shorter than the fixed part.
    #[error("an envelope of {size} bytes is too short, the fixed part alone has {HEADER_BYTES}")]
    TooShort {
        /// The size, in bytes.
        size: usize,
    },
    /// Larger than [`ENVELOPE_BYTES_MAX`].
    #[error("an envelope of {size} bytes is too large, the limit is {ENVELOPE_BYTES_MAX}")]
    TooLarge {
        /// The size, in bytes.
        size: usize,
    },
    /// The rest cannot be read.
    #[error("the envelope cannot be read: {reason}")]
    Malformed {
        /// What was wrong.
        reason: String,
    },
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn malformed(reason: impl ToString) -> DecodeError {
    DecodeError::Malformed {
        reason: reason.to_string(),
    }
}

impl Envelope {
    /// An envelope with no option set, due at once, whose result is not kept.
    pub fn new(id: TaskId, task: TaskName, queue: QueueName, args: Bytes) -> Self {
        Self {
            id,
            task,
            queue,
            args,
            priority: Priority::default(),
            ack: Ack::default(),
            attempts: 0,
            start: None,
            expires: None,
            sent_at: Millis::default(),
            max_retries: None,
            backoff: None,
            timeout: None,
            hard_timeout: None,
            result_ttl: None,
            unique: None,
            remembered: None,
            root: None,
            parent: None,
            trace: None,
            headers: BTreeMap::new(),
            on_failure: None,
        }
    }

    /// The wire form.
    pub fn encode(&self) -> Result<Encoded, EncodeError> {
        check_args(&self.args).map_err(|reason| EncodeError::Args {
            task: self.task.clone(),
            reason,
        })?;
        if HEADERS_MAX < self.headers.len() {
            return Err(EncodeError::Headers {
                task: self.task.clone(),
                count: self.headers.len(),
            });
        }
        let body = Body {
            task: self.task.as_str(),
            queue: self.queue.as_str(),
            sent_at: self.sent_at.get(),
            args: &self.args,
            max_retries: self.max_retries,
            backoff: self.backoff.as_ref().and_then(WireBackoff::of),
            timeout_ms: self.timeout.map(span_ms),
            hard_timeout_ms: self.hard_timeout.map(span_ms),
            result_ttl_ms: self.result_ttl.map(span_ms),
            unique: self.unique.as_ref().map(Lock::wire),
            remembered_ms: self.remembered.map(span_ms),
            root: self
                .root
                .as_ref()
                .map(|id| serde_bytes::Bytes::new(id.as_bytes())),
            parent: self
                .parent
                .as_ref()
                .map(|id| serde_bytes::Bytes::new(id.as_bytes())),
            trace: self.trace.clone(),
            headers: self.headers.clone(),
            on_failure: self.on_failure.as_ref().map(WireCallback::from),
        };
        // The names, keys and numbers beside the arguments take about a hundred bytes.
        let mut out = BytesMut::with_capacity(HEADER_BYTES + 128 + self.args.len()).writer();
        out.get_mut().put_slice(&self.header());
        rmp_serde::encode::write_named(&mut out, &body)
            .expect("a map of texts, numbers and bytes always encodes");
        let bytes = out.into_inner().freeze();
        if ENVELOPE_BYTES_MAX < bytes.len() {
            return Err(EncodeError::TooLarge {
                task: self.task.clone(),
                size: bytes.len(),
            });
        }
        Ok(Encoded {
            id: self.id,
            bytes,
            unique: self.unique,
            remembered: self
                .remembered
                .map(|span| Remembered::by_key(self.id, span)),
        })
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let delay = self.unique.as_ref().and_then(Lock::delay);
        let start = self.start.or(delay.map(When::In));
        let (start_flags, start) = wire_when(start, flag::START, flag::START_RELATIVE);
        let (expires_flags, expires) =
            wire_when(self.expires, flag::EXPIRES, flag::EXPIRES_RELATIVE);
        let ack = if self.ack == Ack::Early {
            flag::ACK_EARLY
        } else {
            0
        };
        header[0] = VERSION;
        let unique = if self.unique.is_some() {
            flag::UNIQUE
        } else {
            0
        };
        let calls_back = if self.on_failure.is_some() {
            flag::CALLS_BACK
        } else {
            0
        };
        header[at::FLAGS] = ack | start_flags | expires_flags | unique | calls_back;
        header[at::PRIORITY] = self.priority.get();
        header[at::ATTEMPTS].copy_from_slice(&self.attempts.to_be_bytes());
        header[at::ID].copy_from_slice(self.id.as_bytes());
        header[at::START].copy_from_slice(&start.to_be_bytes());
        header[at::EXPIRES].copy_from_slice(&expires.to_be_bytes());
        header
    }

    /// Reads the wire form. The arguments share its memory.
    ///
    /// Never panics, and allocates no more than the bytes that are there, whatever they say of themselves.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let header = bytes
            .get(..HEADER_BYTES)
            .ok_or(DecodeError::TooShort { size: bytes.len() })?;
        if header[0] != VERSION {
            return Err(DecodeError::Version { found: header[0] });
        }
        if ENVELOPE_BYTES_MAX < bytes.len() {
            return Err(DecodeError::TooLarge { size: bytes.len() });
        }
        let mut reader = rmp_serde::Deserializer::from_read_ref(&bytes[HEADER_BYTES..]);
        // The map itself is flat; eight levels leave room for what newer versions add.
        reader.set_max_depth(8);
        let body = Body::deserialize(&mut reader).map_err(malformed)?;
        if HEADERS_MAX < body.headers.len() {
            return Err(malformed(format!(
                "{} headers, the limit is {HEADERS_MAX}",
                body.headers.len()
            )));
        }
        let id = |bytes: &[u8]| TaskId::try_from(bytes).map_err(malformed);
        let u64_at = |range: std::ops::Range<usize>| {
            header[range]
                .iter()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let flags = header[at::FLAGS];
        Ok(Self {
            id: id(&header[at::ID])?,
            task: TaskName::parse(body.task).map_err(malformed)?,
            queue: QueueName::parse(body.queue).map_err(malformed)?,
            args: bytes.slice_ref(body.args),
            priority: Priority::new(header[at::PRIORITY]),
            ack: if flags & flag::ACK_EARLY == 0 {
                Ack::Late
            } else {
                Ack::Early
            },
            attempts: u16::from_be_bytes([
                header[at::ATTEMPTS.start],
                header[at::ATTEMPTS.start + 1],
            ]),
            start: read_when(flags, flag::START, flag::START_RELATIVE, u64_at(at::START)),
            expires: read_when(
                flags,
                flag::EXPIRES,
                flag::EXPIRES_RELATIVE,
                u64_at(at::EXPIRES),
            ),
            sent_at: Millis::new(body.sent_at),
            max_retries: body.max_retries,
            backoff: body.backoff.map(Backoff::from),
            timeout: body.timeout_ms.map(Duration::from_millis),
            hard_timeout: body.hard_timeout_ms.map(Duration::from_millis),
            result_ttl: body.result_ttl_ms.map(Duration::from_millis),
            unique: body
                .unique
                .map(Lock::try_from)
                .transpose()
                .map_err(malformed)?,
            remembered: body.remembered_ms.map(Duration::from_millis),
            root: body.root.map(|bytes| id(bytes)).transpose()?,
            parent: body.parent.map(|bytes| id(bytes)).transpose()?,
            trace: body.trace,
            headers: body.headers,
            on_failure: body.on_failure.map(Callback::from),
        })
    }
}

/// One MessagePack value, no deeper than allowed and with nothing behind it.
fn check_args(args: &[u8]) -> Result<(), String> {
    let mut reader = args;
    let mut parser = rmp_serde::Deserializer::new(&mut reader);
    parser.set_max_depth(ARGS_DEPTH_MAX);
    serde::de::IgnoredAny::deserialize(&mut parser).map_err(|error| error.to_string())?;
    drop(parser);
    if reader.is_empty() {
        Ok(())
    } else {
        Err(format!("{} bytes behind the value", reader.len()))
    }
}

fn wire_when(when: Option<When>, set: u8, relative: u8) -> (u8, u64) {
    match when {
        None => (0, 0),
        Some(When::At(instant)) => (set, instant.get()),
        Some(When::In(span)) => (set | relative, span_ms(span)),
    }
}

fn read_when(flags: u8, set: u8, relative: u8, ms: u64) -> Option<When> {
    if flags & set == 0 {
        return None;
    }
    Some(if flags & relative == 0 {
        When::At(Millis::new(ms))
    } else {
        When::In(Duration::from_millis(ms))
    })
}

#[cfg(test)]
mod tests;
