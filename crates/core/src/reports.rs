//! What workers say of themselves, and the ledger of what was lost with them.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError};
use crate::ids::{QueueName, TaskId, WorkerId};
use crate::schedules::Looked;
use crate::time::{Millis, span_ms};

mod loss;

pub use loss::{Loss, LostWorker};

/// The longest note of a run's progress, in bytes; the rest is cut.
pub const PROGRESS_BYTES_MAX: usize = 200;
/// The largest report of a worker, in bytes. Where its running tasks take more, some are left out.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// The most losses that a queue remembers.
pub const LOSSES_KEPT_MAX: usize = 1000;

/// Looking at workers, and at what was lost with them; at a bounded cost.
pub trait Reports: Broker {
    /// The deliveries that were lost with their workers, newest first, from number `offset` on, at most `limit`. The
    /// last [`LOSSES_KEPT_MAX`] are remembered.
    fn losses(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Loss>, BrokerError>> + Send;

    /// The workers that `queue` knows, from number `offset` on, at most `limit`; fewer where their reports are large.
    /// Empty where there are no more. They come in the order in which recovery looks at them: one may be missed or seen
    /// twice where it does so between two pages.
    fn workers(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> impl Future<Output = Result<Looked<Vec<KnownWorker>>, BrokerError>> + Send;
}

/// A worker as a queue knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownWorker {
    /// The identity.
    pub worker: WorkerId,
    /// When its lease ends, or has ended.
    pub lease_end: Millis,
    /// When it last reported, and what; `None` if it has not yet, or the report cannot be read.
    pub report: Option<(Millis, WorkerReport)>,
}

/// What a worker says of itself: where it runs, which build, and what it is at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerReport {
    /// What operators call it.
    #[serde(rename = "n")]
    pub name: String,
    /// The host.
    #[serde(rename = "h")]
    pub host: String,
    /// The process.
    #[serde(rename = "p")]
    pub pid: u32,
    /// The version of Lovage in it.
    #[serde(rename = "v")]
    pub version: String,
    /// The version of the program, where somebody set it.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The memory that it occupies, in bytes, where the system tells.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Its runs, as many as fit.
    #[serde(rename = "t")]
    pub running: Vec<RunningTask>,
}

/// A run that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningTask {
    /// The task.
    #[serde(rename = "i", with = "id_text")]
    pub id: TaskId,
    /// Its name.
    #[serde(rename = "t")]
    pub task: String,
    /// How long it has run, by its worker's clock.
    #[serde(rename = "r", with = "span")]
    pub ran: Duration,
    /// What the body last noted.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How far a run has come, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Progress {
    /// A note, at most [`PROGRESS_BYTES_MAX`] bytes.
    Note(String),
    /// So many of so many.
    Count(u64, u64),
}

impl From<String> for Progress {
    fn from(mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(PROGRESS_BYTES_MAX));
        Self::Note(note)
    }
}

impl From<&str> for Progress {
    fn from(note: &str) -> Self {
        Self::Note(note[..note.floor_char_boundary(PROGRESS_BYTES_MAX)].to_owned())
    }
}

impl From<(u64, u64)> for Progress {
    fn from((done, of): (u64, u64)) -> Self {
        Self::Count(done, of)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(note) => f.write_str(note),
            Self::Count(done, of) => write!(f, "{done} of {of}"),
        }
    }
}

impl WorkerReport {
    /// The wire form, at most [`REPORT_BYTES_MAX`]: the runs at the end are left out where there are too many, and texts
    /// are cut to 255 bytes.
    pub fn encode(mut self) -> Bytes {
        for text in [&mut self.name, &mut self.host, &mut self.version]
            .into_iter()
            .chain(&mut self.build)
        {
            text.truncate(text.floor_char_boundary(255));
        }
        loop {
            let bytes =
                rmp_serde::to_vec_named(&self).expect("texts, numbers and bytes always encode");
            if bytes.len() <= REPORT_BYTES_MAX || self.running.is_empty() {
                return bytes.into();
            }
            // As many as fit if all are alike, and one less so that it ends.
            let fit = self.running.len() * REPORT_BYTES_MAX / bytes.len();
            self.running.truncate(fit.min(self.running.len() - 1));
        }
    }

    /// Reads the wire form; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

/// A task id as 32 hex digits: what Redis's scripts read knows no bytes.
mod id_text {
    use std::fmt::Write;

    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::Serializer;

    use crate::ids::TaskId;

    pub(super) fn serialize<S: Serializer>(id: &TaskId, serializer: S) -> Result<S::Ok, S::Error> {
        let text = id.as_bytes().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<TaskId, D::Error> {
        let text = String::deserialize(value)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A span in whole milliseconds.
mod span {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    use super::span_ms;

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span_ms(*span))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
        u64::deserialize(value).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::secs;

    fn report(runs: usize) -> WorkerReport {
        let run = |n: usize| RunningTask {
            id: TaskId::from_bytes([u8::try_from(n % 256).unwrap(); 16]),
            task: "resize".to_owned(),
            ran: secs(3),
            progress: n.is_multiple_of(2).then(|| Progress::from((3, 9))),
        };
        WorkerReport {
            name: "eu-1".to_owned(),
            host: "db".to_owned(),
            pid: 42,
            version: "0.1.0".to_owned(),
            build: Some("abc".to_owned()),
            rss_bytes: Some(7 << 30),
            running: (0..runs).map(run).collect(),
        }
    }

    #[test]
    fn reports_survive_the_wire_and_rubbish_is_none() {
        for sent in [report(0), report(9), WorkerReport::default()] {
            assert_eq!(WorkerReport::decode(&sent.clone().encode()), Some(sent));
        }
        assert_eq!(WorkerReport::decode(b"\xc1"), None);
    }

    #[test]
    fn a_report_is_bounded_however_much_its_worker_runs() {
        let mut sent = report(50_000);
        sent.name = "ä".repeat(5_000);
        let bytes = sent.encode();
        assert!(bytes.len() <= REPORT_BYTES_MAX, "{}", bytes.len());
        let read = WorkerReport::decode(&bytes).unwrap();
        assert!(read.running.len() > 1000, "{}", read.running.len());
    }

    #[test]
    fn a_note_of_progress_is_bounded() {
        let Progress::Note(note) = Progress::from("ä".repeat(500)) else {
            panic!("it is a note");
        };
        assert_eq!(note.len(), PROGRESS_BYTES_MAX);
        assert_eq!(Progress::from((1, 2)).to_string(), "1 of 2");
    }
}
