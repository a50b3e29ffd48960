//! Entries that code and files name: brought to the broker as a whole, again and again, by any number of beats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lovage_core::{
    Amended, Amendment, BrokerError, Change, EncodeError, Looked, Millis, ScheduleName, Schedules,
    StoredSchedule, secs,
};

use crate::draft::batches;
use crate::entry::{Entry, Origin};
use crate::firing::{Fate, Firing, Reason};
use crate::plan;
use crate::state::Record;
use crate::trouble::bounded;

/// The schedules read at once.
const PAGE: usize = 200;
/// How often the whole is tried again where others change the same schedules.
const ROUNDS_MAX: u32 = 10;
const CALL_MAX: Duration = secs(10);

/// All entries of one origin. What that origin does not name any more is removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The code or the file; not [`Origin::Runtime`].
    pub origin: Origin,
    /// Its entries. Their own origin is taken to be this one.
    pub entries: Vec<Entry>,
}

/// What applying a source changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries that were not there.
    pub added: usize,
    /// Entries that said something else.
    pub changed: usize,
    /// Entries that the source does not name any more.
    pub removed: usize,
    /// Entries that stand as they did.
    pub unchanged: usize,
}

/// Why a source was not applied. Unless it says otherwise, nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Entries made at run time come by [`Timetable::upsert`](crate::Timetable::upsert).
    #[error("entries made at run time are no source: nothing that lacks in it may be removed")]
    Runtime,
    /// Two entries have one name.
    #[error("{origin} names the schedule {name} twice")]
    Twice {
        /// The source.
        origin: Origin,
        /// The name.
        name: ScheduleName,
    },
    /// The name belongs to somebody else.
    #[error(
        "{origin} names the schedule {name}, which belongs to {owner}; give one of them another name"
    )]
    Owned {
        /// The source.
        origin: Origin,
        /// The name.
        name: ScheduleName,
        /// Who has it.
        owner: Origin,
    },
    /// The broker keeps something under this name that this build cannot read: a newer one wrote it.
    #[error(
        "{origin} names the schedule {name}, and what is stored of that cannot be read: {reason}"
    )]
    Unreadable {
        /// The source.
        origin: Origin,
        /// The name.
        name: ScheduleName,
        /// Why.
        reason: String,
    },
    /// The task of an entry cannot be sent.
    #[error("the schedule {name} of {origin} cannot be fired: {reason}")]
    Task {
        /// The source.
        origin: Origin,
        /// The name.
        name: ScheduleName,
        /// Why.
        reason: EncodeError,
    },
    /// Others keep changing the same schedules. A part may have been applied; applying again goes on.
    #[error("others change the schedules of {origin} at the same time; try again")]
    Contended {
        /// The source.
        origin: Origin,
    },
    /// The beat that should apply it has ended.
    #[error("the beat has ended; the schedules of {origin} were not applied by it")]
    Stopped {
        /// The source.
        origin: Origin,
    },
    /// The broker failed. A part may have been applied; applying again goes on.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Brings the schedules of the source's origin to what the source says. What is as it says already is not touched,
/// and neither is anything of another origin; so it can be done again, and by several at once.
///
/// A schedule whose times stay the same keeps how far it has come. One with new times begins with its first
/// occurrence from now on.
pub(crate) async fn apply<B: Schedules>(
    broker: &B,
    source: &Source,
) -> Result<Applied, SourceError> {
    let entries = named(source)?;
    let mut applied = Applied::default();
    for _ in 0..ROUNDS_MAX {
        let stored = read_all(broker).await?;
        let mut conflicts = false;
        for batch in batches(changes(source, &entries, &stored)?, |amendment| amendment) {
            let made: Vec<fn(&mut Applied) -> &mut usize> = batch.iter().map(count_of).collect();
            let answers = bounded(CALL_MAX, broker.amend(None, batch)).await?;
            for (count, answer) in made.into_iter().zip(answers) {
                match answer {
                    Amended::Done(_) => *count(&mut applied) += 1,
                    _ => conflicts = true,
                }
            }
        }
        if !conflicts {
            let touched = applied.added + applied.changed;
            applied.unchanged = entries.len().saturating_sub(touched);
            return Ok(applied);
        }
        // A leader has fired one of them, or another beat applies the same source.
    }
    Err(SourceError::Contended {
        origin: source.origin.clone(),
    })
}

/// The same where the broker has nothing of the source's origin, though the source has something: its data were lost.
/// `None` if it has.
pub(crate) async fn apply_if_lost<B: Schedules>(
    broker: &B,
    source: &Source,
) -> Result<Option<Applied>, SourceError> {
    if source.entries.is_empty() {
        return Ok(None);
    }
    if has_any(broker, &source.origin).await? {
        return Ok(None);
    }
    apply(broker, source).await.map(Some)
}

fn named(source: &Source) -> Result<BTreeMap<ScheduleName, Entry>, SourceError> {
    let origin = &source.origin;
    if *origin == Origin::Runtime {
        return Err(SourceError::Runtime);
    }
    let mut entries = BTreeMap::new();
    for entry in &source.entries {
        let entry = Entry {
            origin: origin.clone(),
            ..entry.clone()
        };
        let name = entry.name.clone();
        entry.check().map_err(|error| task(&entry, error))?;
        if entries.insert(name.clone(), entry).is_some() {
            let origin = origin.clone();
            return Err(SourceError::Twice { origin, name });
        }
    }
    Ok(entries)
}

fn task(entry: &Entry, reason: EncodeError) -> SourceError {
    SourceError::Task {
        origin: entry.origin.clone(),
        name: entry.name.clone(),
        reason,
    }
}

/// Whether the broker has a schedule of this origin. Looks no further than the first: a lead has just begun.
async fn has_any<B: Schedules>(broker: &B, origin: &Origin) -> Result<bool, BrokerError> {
    let mut after = None;
    loop {
        let found = bounded(CALL_MAX, broker.schedules(after.as_ref(), PAGE))
            .await?
            .found;
        let is_there = found.iter().any(|stored| {
            // Whose one is that cannot be read is not known: a newer build wrote it.
            Record::decode(&stored.name, &stored.record)
                .map_or(true, |record| record.entry.origin == *origin)
        });
        if is_there {
            return Ok(true);
        }
        match found.into_iter().next_back() {
            None => return Ok(false),
            Some(last) => after = Some(last.name),
        }
    }
}

async fn read_all<B: Schedules>(
    broker: &B,
) -> Result<Looked<BTreeMap<ScheduleName, StoredSchedule>>, BrokerError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let Looked { now, found } =
            bounded(CALL_MAX, broker.schedules(after.as_ref(), PAGE)).await?;
        match found.last() {
            None => return Ok(Looked { now, found: all }),
            Some(last) => after = Some(last.name.clone()),
        }
        all.extend(
            found
                .into_iter()
                .map(|stored| (stored.name.clone(), stored)),
        );
    }
}

/// Which of the counts a change that was made belongs to.
fn count_of(amendment: &Amendment) -> fn(&mut Applied) -> &mut usize {
    match (&amendment.change, amendment.expected) {
        (Change::Remove, _) => |applied| &mut applied.removed,
        (Change::Store { .. }, None) => |applied| &mut applied.added,
        (Change::Store { .. }, Some(_)) => |applied| &mut applied.changed,
    }
}

fn changes(
    source: &Source,
    entries: &BTreeMap<ScheduleName, Entry>,
    stored: &Looked<BTreeMap<ScheduleName, StoredSchedule>>,
) -> Result<Vec<Amendment>, SourceError> {
    let origin = &source.origin;
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, stored_one) in &stored.found {
        let record = Record::decode(name, &stored_one.record);
        let Some(entry) = entries.get(name) else {
            // One that cannot be read is left alone: whose it is is not known.
            if record.is_ok_and(|record| record.entry.origin == *origin) {
                changes.push(removal(stored_one));
            }
            continue;
        };
        seen.insert(name);
        let record = record.map_err(|error| SourceError::Unreadable {
            origin: origin.clone(),
            name: name.clone(),
            reason: error.to_string(),
        })?;
        if record.entry.origin != *origin {
            return Err(SourceError::Owned {
                origin: origin.clone(),
                name: name.clone(),
                owner: record.entry.origin,
            });
        }
        if !record.entry.same_as(entry) {
            let before = Some((stored_one.version, record));
            changes.push(store(entry, before, stored.now).map_err(|error| task(entry, error))?);
        }
    }
    for entry in entries.values().filter(|entry| !seen.contains(&entry.name)) {
        changes.push(store(entry, None, stored.now).map_err(|error| task(entry, error))?);
    }
    Ok(changes)
}

/// The change that removes a schedule.
pub(crate) fn removal(stored: &StoredSchedule) -> Amendment {
    Amendment {
        name: stored.name.clone(),
        expected: Some(stored.version),
        change: Change::Remove,
        sends: Vec::new(),
        firings: Vec::new(),
    }
}

/// The change that makes a schedule what `entry` says, where `before` was found.
pub(crate) fn store(
    entry: &Entry,
    before: Option<(u64, Record)>,
    now: Millis,
) -> Result<Amendment, EncodeError> {
    let (expected, before) = before.unzip();
    let record = plan::restate(entry, before.as_ref(), now);
    let waited = before.and_then(|before| before.state.waiting);
    let given_up = waited.filter(|_| record.state.waiting.is_none());
    let firings = given_up.map(|one| Firing::one(now, one, Fate::Skipped(Reason::Changed)));
    Ok(Amendment {
        name: entry.name.clone(),
        expected,
        change: Change::Store {
            record: record.encode()?,
            wake: plan::wake(&record.entry, &record.state, now),
        },
        sends: Vec::new(),
        firings: firings.iter().map(Firing::encode).collect(),
    })
}
