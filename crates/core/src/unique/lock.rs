//! A lock as an envelope carries it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UniqueError;
use super::canonical::canonical;
use crate::time::span_ms;

/// What tells tasks that are the same: 16 bytes of the task's name and its key, hashed (SHA-1, as a UUID v5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey([u8; 16]);

impl LockKey {
    /// The key of `task` and one MessagePack value; the order of the entries of its maps makes no difference.
    ///
    /// # Errors
    /// Where `value` is no MessagePack, or nests too deep.
    pub fn of(task: &str, value: &[u8]) -> Result<Self, UniqueError> {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"lovage.unique");
        // A name has no byte 0, so that no two pairs make one text.
        let mut text = [task.as_bytes(), &[0]].concat();
        text.extend(canonical(value).map_err(|reason| UniqueError::Key { reason })?);
        Ok(Self(Uuid::new_v5(&namespace, &text).into_bytes()))
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0).simple(), f)
    }
}

/// Until when a task holds its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// Until a worker first takes it.
    Start,
    /// Until it has ended: done, expired, cancelled or buried. A retry that waits holds it. The dead letter does not, and
    /// takes it again when it is revived.
    #[default]
    Done,
    /// For this span from the send on, whatever becomes of the task. One that is cancelled before a worker took it gives
    /// it up.
    Elapsed(Duration),
}

/// What becomes of a task whose key is held by another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// It is not stored.
    #[default]
    Reject,
    /// It takes the place of the other one, if that waits; if not, it is not stored.
    Replace,
    /// As `Replace`, and each send puts the start off.
    Debounce {
        /// How long after the last send it starts.
        span: Duration,
        /// How long after the first send it starts at the latest.
        wait_max: Option<Duration>,
    },
}

/// The key that a task wants to hold, until when, and what becomes of it if another one holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The key, within the queue.
    pub key: LockKey,
    /// Until when it is held.
    pub until: Until,
    /// What becomes of a task that does not get it.
    pub conflict: Conflict,
    /// For how long it is held at most; `None` sets no end.
    pub ttl: Option<Duration>,
}

/// The map under the key `u` of an envelope.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WireLock<'a> {
    #[serde(rename = "k", borrow)]
    key: &'a serde_bytes::Bytes,
    #[serde(rename = "w")]
    until: char,
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    replaces: bool,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    span_ms: Option<u64>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    debounce_ms: Option<u64>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    wait_max_ms: Option<u64>,
}

impl Lock {
    /// The letter that scripts and envelopes have for [`Self::until`], and the span that goes with it.
    pub fn mode(&self) -> (char, Option<Duration>) {
        match self.until {
            Until::Start => ('s', self.ttl),
            Until::Done => ('d', self.ttl),
            Until::Elapsed(span) => ('t', Some(span)),
        }
    }

    /// How long after the send a debounced task starts.
    pub fn delay(&self) -> Option<Duration> {
        match self.conflict {
            Conflict::Debounce { span, .. } => Some(span),
            _ => None,
        }
    }

    /// How long after its first send a debounced task starts at the latest.
    pub fn wait_max(&self) -> Option<Duration> {
        match self.conflict {
            Conflict::Debounce { wait_max, .. } => wait_max,
            _ => None,
        }
    }

    pub(crate) fn wire(&self) -> WireLock<'_> {
        let (until, span) = self.mode();
        WireLock {
            key: serde_bytes::Bytes::new(self.key.as_bytes()),
            until,
            replaces: self.conflict == Conflict::Replace,
            span_ms: span.map(span_ms),
            debounce_ms: self.delay().map(span_ms),
            wait_max_ms: self.wait_max().map(span_ms),
        }
    }
}

impl TryFrom<WireLock<'_>> for Lock {
    type Error = String;

    fn try_from(wire: WireLock<'_>) -> Result<Self, String> {
        let span = wire.span_ms.map(Duration::from_millis);
        let (until, ttl) = match (wire.until, span) {
            ('s', ttl) => (Until::Start, ttl),
            ('d', ttl) => (Until::Done, ttl),
            ('t', Some(span)) => (Until::Elapsed(span), None),
            (other, _) => return Err(format!("a lock held until {other:?}")),
        };
        let conflict = match wire.debounce_ms.map(Duration::from_millis) {
            Some(span) => Conflict::Debounce {
                span,
                wait_max: wire.wait_max_ms.map(Duration::from_millis),
            },
            None if wire.replaces => Conflict::Replace,
            None => Conflict::Reject,
        };
        let key = <[u8; 16]>::try_from(&**wire.key);
        Ok(Self {
            key: LockKey(key.map_err(|_| "a lock whose key is not 16 bytes".to_owned())?),
            until,
            conflict,
            ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key_of(value: &impl Serialize) -> LockKey {
        LockKey::of("refresh", &rmp_serde::to_vec_named(value).unwrap()).unwrap()
    }

    #[test]
    fn a_key_does_not_depend_on_the_order_of_names() {
        #[derive(Serialize)]
        struct One {
            shop: u64,
            full: bool,
        }
        #[derive(Serialize)]
        struct Other {
            full: bool,
            shop: u64,
        }
        let key = key_of(&One {
            shop: 7,
            full: true,
        });
        assert_eq!(
            key,
            key_of(&Other {
                full: true,
                shop: 7
            })
        );
        assert_ne!(
            key,
            key_of(&One {
                shop: 8,
                full: true
            })
        );
        for _ in 0..20 {
            // Each map of the standard library has an order of its own.
            let map: HashMap<u32, u32> = (0..50).map(|n| (n, n)).collect();
            let again: HashMap<u32, u32> = (0..50).rev().map(|n| (n, n)).collect();
            assert_eq!(key_of(&map), key_of(&again));
        }
    }

    #[test]
    fn a_key_belongs_to_its_task() {
        let one = LockKey::of("a", b"\x01").unwrap();
        assert_ne!(one, LockKey::of("b", b"\x01").unwrap());
        assert_eq!(format!("{one:?}"), "5c79262ab5255a7f87890463e949d848");
    }

    #[test]
    fn values_of_different_shape_have_different_keys() {
        let values: [&[u8]; 9] = [
            b"\xc0",
            b"\xc2",
            b"\x00",
            b"\xa0",
            b"\xc4\x00",
            b"\x90",
            b"\x80",
            b"\xa1\x00",
            b"\x91\x00",
        ];
        let mut keys: Vec<LockKey> = values
            .iter()
            .map(|value| LockKey::of("a", value).unwrap())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), values.len());
    }
}
