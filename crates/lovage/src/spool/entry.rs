//! One kept task, as it stands in the file.

use bytes::Bytes;
use lovage_core::envelope::edit;
use lovage_core::{Durability, Encoded, Millis, ms, span_ms};

/// The version of this form.
const VERSION: u8 = 1;
/// Version, spooled at, replicas, fsync, within: integers big-endian.
const HEADER_BYTES: usize = 1 + 8 + 2 + 1 + 8;

/// A task that waits for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was spooled, by this host's clock.
    pub(crate) spooled_at: Millis,
    /// The confirmation that its send asked for: it leaves the spool only when that is given.
    pub(crate) wanted: Durability,
    pub(crate) task: Encoded,
}

impl Entry {
    /// The entry of a task that is sent at `now`. Its spans begin here: they become instants by this host's clock.
    pub(crate) fn new(task: &Encoded, wanted: Durability, now: Millis) -> Self {
        let pinned = Encoded::stored(edit::pin(task.bytes(), now));
        Self {
            spooled_at: now,
            wanted,
            task: pinned.expect("an encoded task has a fixed part, and keeps it"),
        }
    }

    /// How many bytes it takes in the file.
    pub(crate) fn size(&self) -> u64 {
        (HEADER_BYTES + self.task.bytes().len()) as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.task.bytes().len());
        bytes.push(VERSION);
        bytes.extend(self.spooled_at.get().to_be_bytes());
        bytes.extend(self.wanted.replicas.to_be_bytes());
        bytes.push(self.wanted.fsync.into());
        bytes.extend(span_ms(self.wanted.within).to_be_bytes());
        bytes.extend_from_slice(self.task.bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((header, envelope)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(format!("{} bytes are too short for an entry", bytes.len()));
        };
        if header[0] != VERSION {
            return Err(format!("an entry of version {} is not known", header[0]));
        }
        let number = |range: std::ops::Range<usize>| {
            header[range]
                .iter()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let replicas = u16::from_be_bytes([header[9], header[10]]);
        let mut wanted = Durability::replicas(replicas).within(ms(number(12..20)));
        wanted.fsync = header[11] != 0;
        let task = Encoded::stored(Bytes::copy_from_slice(envelope));
        Ok(Self {
            spooled_at: Millis::new(number(1..9)),
            wanted,
            task: task.map_err(|error| error.to_string())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Envelope, QueueName, TaskId, TaskName, When, secs};

    use super::*;

    fn task() -> Encoded {
        let (name, queue) = (
            TaskName::parse("t").unwrap(),
            QueueName::parse("q").unwrap(),
        );
        let mut envelope =
            Envelope::new(TaskId::random(), name, queue, Bytes::from_static(b"\xc0"));
        envelope.start = Some(When::In(secs(5)));
        envelope.encode().unwrap()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_its_spans_are_instants() {
        let wanted = Durability::replicas(300).fsync().within(ms(70_000));
        let entry = Entry::new(&task(), wanted, Millis::new(10_000));
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        assert_eq!(edit::due(entry.task.bytes()), Some(Millis::new(15_000)));
    }

    #[test]
    fn what_is_no_entry_is_refused_with_the_reason() {
        let good = Entry::new(&task(), Durability::NONE, Millis::new(1)).encode();
        let mut newer = good.clone();
        newer[0] = 9;
        for (bytes, part) in [
            (&good[..5], "5 bytes are too short"),
            (&newer, "version 9 is not known"),
            (&good[..30], "too short"),
        ] {
            let error = Entry::decode(bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
