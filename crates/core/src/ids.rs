//! Names and identities: parsed once, valid for ever.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest queue or task name, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// The identity of one task for its whole life: a UUID, v7 unless the sender chose one.
///
/// Two sends with the same id are one task for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId([u8; 16]);

impl TaskId {
    /// Makes a new id (UUID v7: sorted by the time of its making).
    pub fn random() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }

    /// Derives the same id from the same `name` for ever (UUID v5 in Lovage's own name space).
    pub fn derived(name: &[u8]) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"lovage.task");
        Self(Uuid::new_v5(&namespace, name).into_bytes())
    }

    /// The id of what was sent to `queue` as `task` under an idempotency key: the same for ever.
    pub fn of_send(queue: &QueueName, task: &TaskName, key: &str) -> Self {
        // Names have no blanks, so that no two triples make one text.
        Self::derived(format!("lovage.send {queue} {task} {key}").as_bytes())
    }

    /// This id with the end of `key`: ids with one end go to one partition of a queue, where a lock can see both.
    #[must_use]
    pub fn beside(mut self, key: &[u8; 16]) -> Self {
        self.0[12..].copy_from_slice(&key[12..]);
        self
    }

    /// The id with these sixteen bytes, as stored in Redis.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for TaskId {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        <[u8; 16]>::try_from(bytes).map(Self)
    }
}

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.into_bytes())
    }
}

impl FromStr for TaskId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self::from)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0), f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity of one incarnation of a worker process.
///
/// Fresh at every start and after a lost lease: a paused process that wakes up still signs with its old
/// identity, which is dead for good once its tasks were recovered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId([u8; 16]);

/// The identity of one run of a beat: fresh at every start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BeatId([u8; 16]);

/// What the identities of processes share.
macro_rules! incarnation {
    ($type:ident) => {
        impl $type {
            /// Makes a new identity (128 bits, random).
            pub fn random() -> Self {
                Self(Uuid::new_v4().into_bytes())
            }

            /// The identity with these sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(|uuid| Self(uuid.into_bytes()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Uuid::from_bytes(self.0).simple(), f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

incarnation!(WorkerId);
incarnation!(BeatId);

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("a {what} must not be empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("a {what} of {size} bytes is too long, the limit is {NAME_BYTES_MAX} bytes: {name:?}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// The size of the refused name, in bytes.
        size: usize,
        /// The first characters of the refused name.
        name: String,
    },
    /// The name holds a character that is not allowed.
    #[error(
        "{what} {name:?} has {character:?} at byte {position}; use ASCII letters, digits and any of - _ . : / @"
    )]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The refused name.
        name: String,
        /// The first character that is not allowed.
        character: char,
        /// Where it stands.
        position: usize,
    },
}

fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if NAME_BYTES_MAX < name.len() {
        return Err(NameError::TooLong {
            what,
            size: name.len(),
            name: name.chars().take(40).collect(),
        });
    }
    // Braces would end the hash tag that keeps a queue in one Cluster slot; blanks and control characters
    // break logs and command lines. Both are refused here, the only door, so that no key escapes its queue.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    match name.char_indices().find(|&(_, c)| !allowed(c)) {
        None => Ok(()),
        Some((position, character)) => Err(NameError::Character {
            what,
            name: name.to_owned(),
            character,
            position,
        }),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Reads a name: 1 to [`NAME_BYTES_MAX`] bytes of ASCII letters, digits and `- _ . : / @`.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check_name($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::parse(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::parse(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type!(
    /// The name of a queue.
    QueueName,
    "queue name"
);
impl QueueName {
    /// The name under which a broker keeps partition `number`, from 1 on; the first one has the queue's own.
    ///
    /// No queue has it: [`parse`](Self::parse) takes no `#`.
    #[must_use]
    pub fn partition(&self, number: u8) -> Self {
        Self(format!("{self}#{number}").into())
    }
}
name_type!(
    /// The name of a task, by which a worker finds its body.
    TaskName,
    "task name"
);
name_type!(
    /// The name of a schedule.
    ScheduleName,
    "schedule name"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_key_are_refused_with_the_character() {
        for (name, part) in [
            ("", "must not be empty"),
            ("a{b}", "'{' at byte 1"),
            ("mail\r\n", "'\\r' at byte 4"),
            ("nul\0", "'\\0' at byte 3"),
            ("*", "'*' at byte 0"),
            ("größe", "'ö' at byte 2"),
            (&"x".repeat(201), "201 bytes is too long, the limit is 200"),
        ] {
            let error = QueueName::parse(name).unwrap_err().to_string();
            assert!(error.contains(part), "{name:?}: {error}");
        }
    }

    #[test]
    fn usual_names_are_accepted() {
        for name in [
            "default",
            "mail:eu-west_1",
            "shop.orders/v2",
            "celery@host",
            &"x".repeat(200),
        ] {
            assert_eq!(QueueName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn no_queue_has_the_name_of_a_partition() {
        let partition = QueueName::parse("shop/v2").unwrap().partition(7);
        assert_eq!(partition.as_str(), "shop/v2#7");
        assert!(QueueName::parse(partition.as_str()).is_err());
    }

    #[test]
    fn a_derived_id_is_the_same_every_time() {
        assert_eq!(TaskId::derived(b"order-7"), TaskId::derived(b"order-7"));
        assert_ne!(TaskId::derived(b"order-7"), TaskId::derived(b"order-8"));
    }
}
