//! An entry of the timetable: a schedule, the task it sends, and where it comes from.

use std::fmt;

use lovage_core::{EncodeError, Encoded, Envelope, Millis, ScheduleName, TaskId};
use serde::{Deserialize, Serialize};

use crate::occurrence;
use crate::schedule::Schedule;

/// The header of a fired task that names its schedule.
pub const HEADER_SCHEDULE: &str = "lovage-schedule";
/// The header of a fired task that tells the nominal instant, in RFC 3339, UTC, with milliseconds.
pub const HEADER_OCCURRENCE: &str = "lovage-occurrence";

/// A schedule and the task it sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name, one in the whole namespace.
    pub name: ScheduleName,
    /// When it fires, and its policies.
    pub schedule: Schedule,
    /// Who says so.
    pub origin: Origin,
    /// The task as it is sent. Its id, start, time of sending and count of attempts mean nothing: they are those of each firing.
    pub template: Envelope,
}

/// Who says that there is an entry, and may take it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "k", content = "n", rename_all = "lowercase")]
pub enum Origin {
    /// The code of the application of this name.
    Code(String),
    /// The schedule file of this label.
    File(String),
    /// A client, at run time.
    Runtime,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(app) => write!(f, "the code of {app}"),
            Self::File(label) => write!(f, "the file {label}"),
            Self::Runtime => f.write_str("a client at run time"),
        }
    }
}

impl Entry {
    /// An entry that sends `template`.
    pub fn new(name: ScheduleName, schedule: Schedule, origin: Origin, template: Envelope) -> Self {
        Self {
            name,
            schedule,
            origin,
            template: neutral(template),
        }
    }

    /// The id of the task of the occurrence at `occurrence`.
    pub(crate) fn task_id(&self, occurrence: Millis) -> TaskId {
        let id = occurrence::task_id(&self.name, occurrence);
        // Where those of one key are in one partition, they see each other's lock.
        let unique = self.template.unique.as_ref();
        unique.map_or(id, |lock| id.beside(lock.key.as_bytes()))
    }

    /// The task of the occurrence at `occurrence`, fired at `now` under `id`.
    pub(crate) fn task(
        &self,
        id: TaskId,
        occurrence: Millis,
        now: Millis,
    ) -> Result<Encoded, EncodeError> {
        let mut envelope = neutral(self.template.clone());
        envelope.id = id;
        envelope.sent_at = now;
        let headers = &mut envelope.headers;
        headers.insert(HEADER_SCHEDULE.into(), self.name.to_string());
        headers.insert(HEADER_OCCURRENCE.into(), rfc3339(occurrence));
        envelope.encode()
    }

    /// Whether it can be fired at all: the task with its headers has to fit into an envelope.
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        self.task(NO_TASK, Millis::MAX, Millis::MAX).map(drop)
    }

    /// Whether both say the same, apart from what means nothing in a template.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.schedule == other.schedule
            && self.origin == other.origin
            && neutral(self.template.clone()) == neutral(other.template.clone())
    }
}

/// The id of a task that is none.
const NO_TASK: TaskId = TaskId::from_bytes([0; 16]);

/// The template without what belongs to one task.
pub(crate) fn neutral(template: Envelope) -> Envelope {
    Envelope {
        id: NO_TASK,
        start: None,
        sent_at: Millis::default(),
        attempts: 0,
        ..template
    }
}

/// The instant for people and programs, in UTC.
pub(crate) fn rfc3339(instant: Millis) -> String {
    let ms = i64::try_from(instant.get()).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is no such text; nothing fires then.
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| instant.to_string(), |stamp| format!("{stamp:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occurrence_is_told_in_utc_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_798_196_700_250, "2026-12-25T11:05:00.250Z"),
            (Millis::MAX.get(), "9007199254740991 ms"),
        ] {
            assert_eq!(rfc3339(Millis::new(ms)), text);
        }
    }
}
