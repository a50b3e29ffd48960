//! What became of occurrences: the history of a schedule, as it is kept and as people see it.

use std::fmt;

use bytes::Bytes;
use lovage_core::{Millis, QueueName, TaskId};
use serde::{Deserialize, Serialize};

use crate::wire;

/// What became of one occurrence, or of several in a row that were skipped for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// When it was decided, by the broker's clock.
    pub decided: Millis,
    /// The nominal instant of the first, or only, occurrence. For [`Fate::RunNow`], that of the call.
    pub first: Millis,
    /// The nominal instant of the last.
    pub last: Millis,
    /// How many they were; `None` where they were too many to count.
    pub count: Option<u64>,
    /// What became of them.
    pub fate: Fate,
}

/// What became of an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was fired as this task.
    Fired {
        /// The task.
        id: TaskId,
        /// Where it was sent.
        queue: QueueName,
    },
    /// Somebody ran the schedule by hand, as this task.
    RunNow {
        /// The task.
        id: TaskId,
        /// Where it was sent.
        queue: QueueName,
    },
    /// It was not fired.
    Skipped(Reason),
    /// The previous run lives: it waits for its end.
    Waits {
        /// The task that lives.
        live: TaskId,
    },
}

/// Why an occurrence was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Several were due when a beat looked; a later one was fired for all of them.
    Coalesced,
    /// No beat looked in time, and the misfire policy lets it pass.
    Missed,
    /// The previous run was still live: this task.
    Overlapped {
        /// The task that lived.
        live: TaskId,
    },
    /// The schedule was paused.
    Paused,
    /// It waited for the end of a run, and the schedule was given other times or fewer runs meanwhile.
    Changed,
    /// Something that a newer build wrote.
    Other(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coalesced => f.write_str("coalesced: a later occurrence was fired for it"),
            Self::Missed => f.write_str("missed: no beat was there in time"),
            Self::Overlapped { live } => write!(f, "overlapped: task {live} was still live"),
            Self::Paused => f.write_str("paused"),
            Self::Changed => f.write_str("changed: the schedule was changed while it waited"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fired { id, queue } => write!(f, "fired as {id} to {queue}"),
            Self::RunNow { id, queue } => write!(f, "run by hand as {id} to {queue}"),
            Self::Skipped(reason) => write!(f, "skipped, {reason}"),
            Self::Waits { live } => write!(f, "waits for the end of {live}"),
        }
    }
}

/// The MessagePack map in the history.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "d")]
    decided: u64,
    #[serde(rename = "f")]
    first: u64,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(rename = "w")]
    what: String,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<serde_bytes::ByteBuf>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    queue: Option<QueueName>,
}

impl Firing {
    /// What became of one occurrence.
    pub(crate) fn one(decided: Millis, occurrence: Millis, fate: Fate) -> Self {
        Self {
            decided,
            first: occurrence,
            last: occurrence,
            count: Some(1),
            fate,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let (what, id, queue) = match &self.fate {
            Fate::Fired { id, queue } => ("fired", Some(*id), Some(queue.clone())),
            Fate::RunNow { id, queue } => ("now", Some(*id), Some(queue.clone())),
            Fate::Waits { live } => ("waits", Some(*live), None),
            Fate::Skipped(Reason::Overlapped { live }) => ("overlapped", Some(*live), None),
            Fate::Skipped(Reason::Coalesced) => ("coalesced", None, None),
            Fate::Skipped(Reason::Missed) => ("missed", None, None),
            Fate::Skipped(Reason::Paused) => ("paused", None, None),
            Fate::Skipped(Reason::Changed) => ("changed", None, None),
            Fate::Skipped(Reason::Other(text)) => (text.as_str(), None, None),
        };
        wire::encode(&Wire {
            decided: self.decided.get(),
            first: self.first.get(),
            last: (self.last != self.first).then_some(self.last.get()),
            count: self.count,
            what: what.to_owned(),
            id: id.map(|id| serde_bytes::ByteBuf::from(*id.as_bytes())),
            queue,
        })
    }

    /// Reads what `encode` wrote, of this build or another. Never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wire: Wire = wire::decode(bytes)?;
        let id = || {
            let bytes = wire.id.as_deref().ok_or("no task id")?;
            TaskId::try_from(bytes.as_slice()).map_err(|error| error.to_string())
        };
        let queue = || wire.queue.clone().ok_or_else(|| "no queue".to_owned());
        let fate = match wire.what.as_str() {
            "fired" => Fate::Fired {
                id: id()?,
                queue: queue()?,
            },
            "now" => Fate::RunNow {
                id: id()?,
                queue: queue()?,
            },
            "waits" => Fate::Waits { live: id()? },
            "overlapped" => Fate::Skipped(Reason::Overlapped { live: id()? }),
            "coalesced" => Fate::Skipped(Reason::Coalesced),
            "missed" => Fate::Skipped(Reason::Missed),
            "paused" => Fate::Skipped(Reason::Paused),
            "changed" => Fate::Skipped(Reason::Changed),
            other => Fate::Skipped(Reason::Other(other.to_owned())),
        };
        let first = Millis::new(wire.first);
        Ok(Self {
            decided: Millis::new(wire.decided),
            first,
            last: wire.last.map_or(first, Millis::new),
            count: wire.count,
            fate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_read_as_it_was_written() {
        let (id, queue) = (TaskId::derived(b"one"), QueueName::parse("mail").unwrap());
        for fate in [
            Fate::Fired {
                id,
                queue: queue.clone(),
            },
            Fate::RunNow { id, queue },
            Fate::Waits { live: id },
            Fate::Skipped(Reason::Overlapped { live: id }),
            Fate::Skipped(Reason::Coalesced),
            Fate::Skipped(Reason::Missed),
            Fate::Skipped(Reason::Paused),
            Fate::Skipped(Reason::Changed),
            Fate::Skipped(Reason::Other("frozen".into())),
        ] {
            for (last, count) in [(7, Some(1)), (9, Some(3)), (9, None)] {
                let firing = Firing {
                    decided: Millis::new(10),
                    first: Millis::new(7),
                    last: Millis::new(last),
                    count,
                    fate: fate.clone(),
                };
                assert_eq!(Firing::decode(&firing.encode()), Ok(firing));
            }
        }
    }

    #[test]
    fn bad_bytes_are_an_error() {
        for bytes in [&b""[..], b"\x80", b"\xc1", &[0x81; 300]] {
            assert!(Firing::decode(bytes).is_err());
        }
    }
}
