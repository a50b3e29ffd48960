//! An envelope in its wire form.

use std::time::Duration;

use bytes::Bytes;

use super::{DecodeError, Envelope, HEADER_BYTES, at, edit};
use crate::ids::TaskId;
use crate::unique::Lock;

/// An envelope in its wire form, with the few facts that a broker needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub(super) id: TaskId,
    pub(super) bytes: Bytes,
    pub(super) unique: Option<Lock>,
    pub(super) remembered: Option<Remembered>,
}

/// A send that the queue remembers, whatever becomes of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// What is the same in all that are this one send: an id, or of an idempotency key the beginning of one, and zeros.
    pub send: TaskId,
    /// For how long.
    pub span: Duration,
}

impl Remembered {
    /// Of a task with this id, by its idempotency key: the last four bytes are those of a lock's key, which says nothing
    /// of it.
    pub(super) fn by_key(id: TaskId, span: Duration) -> Self {
        let send = id.beside(&[0; 16]);
        Self { send, span }
    }
}

impl Encoded {
    /// Takes back what [`Encoded::bytes`] gave and somebody has kept. Of what is behind the fixed part, what cannot be read
    /// counts as not said.
    pub fn stored(bytes: Bytes) -> Result<Self, DecodeError> {
        let too_short = DecodeError::TooShort { size: bytes.len() };
        if bytes.len() < HEADER_BYTES {
            return Err(too_short);
        }
        let id = TaskId::try_from(&bytes[at::ID]).map_err(|_| too_short)?;
        let envelope = Envelope::decode(&bytes).ok();
        Ok(Self {
            id,
            unique: envelope.as_ref().and_then(|envelope| envelope.unique),
            remembered: envelope
                .and_then(|envelope| envelope.remembered)
                .map(|span| Remembered::by_key(id, span)),
            bytes,
        })
    }

    /// The task's identity.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Whether it may run at most once.
    pub fn acks_early(&self) -> bool {
        edit::acks_early(&self.bytes)
    }

    /// The wire form.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The key that it wants to hold.
    pub fn unique(&self) -> Option<&Lock> {
        self.unique.as_ref()
    }

    /// Whether sending it again after a missing answer runs it no more often than it may.
    pub fn may_be_repeated(&self) -> bool {
        !self.acks_early() || self.remembered.is_some()
    }

    /// The same task, whose id the queue remembers for `span` unless it remembers its idempotency key: sent again within
    /// it, it is the same task, whatever has become of it. The span does not travel with the envelope.
    #[must_use]
    pub fn remembered_for(self, span: Duration) -> Self {
        Self {
            remembered: self.remembered.or(Some(Remembered {
                send: self.id,
                span,
            })),
            ..self
        }
    }

    /// As which send the queue remembers it, whatever becomes of it.
    pub fn remembered(&self) -> Option<Remembered> {
        self.remembered
    }
}
