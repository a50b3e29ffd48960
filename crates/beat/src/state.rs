//! What is kept of a schedule at the broker: the entry, and how far its firing has come.

use bytes::Bytes;
use lovage_core::{Envelope, Millis, QueueName, ScheduleName, TaskId};
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Origin, neutral};
use crate::schedule::Schedule;
use crate::wire;

/// The form that this build writes, and the newest it reads.
const VERSION: u8 = 1;

/// The most runs before the last that are looked for.
pub(crate) const EARLIER_MAX: usize = 8;

/// An entry with its state: all that the broker keeps of a schedule beside its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is.
    pub entry: Entry,
    /// How far it has come.
    pub state: State,
}

/// How far the firing of a schedule has come.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// The next occurrence that nobody has decided on; `None` if there is none any more.
    pub next: Option<Millis>,
    /// The instant that `next` follows: it is computed again from here where the time zones' rules change.
    pub base: Millis,
    /// Occurrences fired.
    pub runs: u64,
    /// The last task that was sent.
    pub last: Option<LastRun>,
    /// Those before it that may live as well, since somebody ran it by hand meanwhile, oldest first; at most eight.
    pub earlier: Vec<LastRun>,
    /// An occurrence that waits until the last task has ended.
    pub waiting: Option<Millis>,
    /// Since when it is paused.
    pub paused: Option<Millis>,
    /// When the entry was first made.
    pub created: Millis,
    /// When somebody last changed, paused or resumed it.
    pub changed: Millis,
}

/// The last task that a schedule sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it was sent.
    pub at: Millis,
    /// Its nominal instant.
    pub occurrence: Millis,
    /// The task.
    pub id: TaskId,
    /// Where it was sent.
    pub queue: QueueName,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read: {reason}")]
pub struct RecordError {
    reason: String,
}

impl RecordError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// The MessagePack map at the broker.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "s")]
    schedule: Schedule,
    #[serde(rename = "o")]
    origin: Origin,
    #[serde(rename = "e")]
    template: serde_bytes::ByteBuf,
    #[serde(rename = "nx", default, skip_serializing_if = "Option::is_none")]
    next: Option<Millis>,
    #[serde(rename = "ba", default)]
    base: Millis,
    #[serde(rename = "rn", default)]
    runs: u64,
    #[serde(rename = "la", default, skip_serializing_if = "Option::is_none")]
    last: Option<WireRun>,
    #[serde(rename = "er", default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<WireRun>,
    #[serde(rename = "wt", default, skip_serializing_if = "Option::is_none")]
    waiting: Option<Millis>,
    #[serde(rename = "pa", default, skip_serializing_if = "Option::is_none")]
    paused: Option<Millis>,
    #[serde(rename = "cr", default)]
    created: Millis,
    #[serde(rename = "ch", default)]
    changed: Millis,
}

#[derive(Serialize, Deserialize)]
struct WireRun {
    #[serde(rename = "a")]
    at: Millis,
    #[serde(rename = "n")]
    occurrence: Millis,
    #[serde(rename = "i")]
    id: serde_bytes::ByteBuf,
    #[serde(rename = "q")]
    queue: QueueName,
}

impl From<&LastRun> for WireRun {
    fn from(run: &LastRun) -> Self {
        Self {
            at: run.at,
            occurrence: run.occurrence,
            id: serde_bytes::ByteBuf::from(*run.id.as_bytes()),
            queue: run.queue.clone(),
        }
    }
}

impl WireRun {
    fn read(self) -> Result<LastRun, RecordError> {
        Ok(LastRun {
            at: self.at,
            occurrence: self.occurrence,
            id: TaskId::try_from(self.id.as_slice())
                .map_err(|error| RecordError::new(error.to_string()))?,
            queue: self.queue,
        })
    }
}

impl State {
    /// Notes a run by hand, beside what may live already.
    pub(crate) fn run_by_hand(&mut self, run: LastRun) {
        if let Some(last) = self.last.replace(run) {
            self.earlier.push(last);
        }
        let too_many = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..too_many);
    }
}

impl Record {
    /// The bytes that the broker keeps.
    ///
    /// # Errors
    /// Those of [`Entry::check`], which passes for an entry that was accepted once.
    pub(crate) fn encode(&self) -> Result<Bytes, lovage_core::EncodeError> {
        let Self { entry, state } = self;
        let template = neutral(entry.template.clone()).encode()?;
        Ok(wire::encode(&Wire {
            version: VERSION,
            schedule: entry.schedule.clone(),
            origin: entry.origin.clone(),
            template: serde_bytes::ByteBuf::from(template.bytes().to_vec()),
            next: state.next,
            base: state.base,
            runs: state.runs,
            last: state.last.as_ref().map(WireRun::from),
            earlier: state.earlier.iter().map(WireRun::from).collect(),
            waiting: state.waiting,
            paused: state.paused,
            created: state.created,
            changed: state.changed,
        }))
    }

    /// Reads what `encode` wrote, of this build or another. Never panics.
    pub fn decode(name: &ScheduleName, bytes: &[u8]) -> Result<Self, RecordError> {
        let wire: Wire = wire::decode(bytes).map_err(RecordError::new)?;
        if VERSION < wire.version {
            return Err(RecordError::new(format!(
                "it has version {}, this build reads {VERSION}",
                wire.version
            )));
        }
        let template = Envelope::decode(&Bytes::from(wire.template.into_vec()))
            .map_err(|error| RecordError::new(error.to_string()))?;
        let last = wire.last.map(WireRun::read).transpose()?;
        let earlier = wire.earlier.into_iter().map(WireRun::read);
        let earlier = earlier.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            entry: Entry {
                name: name.clone(),
                schedule: wire.schedule,
                origin: wire.origin,
                template: neutral(template),
            },
            state: State {
                next: wire.next,
                base: wire.base,
                runs: wire.runs,
                last,
                earlier,
                waiting: wire.waiting,
                paused: wire.paused,
                created: wire.created,
                changed: wire.changed,
            },
        })
    }
}
