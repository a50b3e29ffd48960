//! The timetable: all entries of a namespace, as a client sees and changes them.

use std::time::Duration;

use lovage_core::{
    Amended, Amendment, BrokerError, Change, EncodeError, FIRINGS_MAX, Looked, Millis,
    ScheduleName, Schedules, StoredSchedule, TaskId, secs,
};

use crate::entry::{Entry, Origin};
use crate::firing::{Fate, Firing};
use crate::forwarder::{Page, forward_page};
use crate::plan;
use crate::sources;
use crate::sources::{Applied, Source, SourceError};
use crate::state::{LastRun, Record, RecordError};
use crate::trouble::bounded;

/// The most schedules of one page.
pub const PAGE_MAX: usize = 1000;
/// How often a change is tried again where others change the same schedule.
const ATTEMPTS_MAX: u32 = 20;
const CALL_MAX: Duration = secs(10);

/// All schedules of a namespace, whoever made them. Clones share the broker.
#[derive(Clone, Debug)]
pub struct Timetable<B> {
    broker: B,
}

/// A schedule as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: ScheduleName,
    /// Another one after each change.
    pub version: u64,
    /// When a beat looks at it next, which is when it fires unless it waits for something; `None` is never.
    pub wake: Option<Millis>,
    /// The entry and how far it has come, where this build can read them.
    pub record: Result<Record, RecordError>,
}

/// Why a schedule was not changed, or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimetableError {
    /// There is none of this name.
    #[error("there is no schedule {name}")]
    NoSchedule {
        /// The name.
        name: ScheduleName,
    },
    /// It belongs to code or a file, which would bring it back: change it there. It can be paused and resumed.
    #[error(
        "schedule {name} belongs to {owner}: change it there, or pause it; it is not changed at run time"
    )]
    Owned {
        /// The name.
        name: ScheduleName,
        /// Who says that there is one.
        owner: Origin,
    },
    /// What is stored cannot be read: a newer build wrote it.
    #[error("schedule {name} cannot be changed by this build: {reason}")]
    Unreadable {
        /// The name.
        name: ScheduleName,
        /// Why.
        reason: RecordError,
    },
    /// It ends before it starts.
    #[error(
        "schedule {name} can never fire: it ends at {ending}, before it starts at {starting}; exchange the two"
    )]
    EndsFirst {
        /// The name.
        name: ScheduleName,
        /// Its first possible instant.
        starting: Millis,
        /// Its last.
        ending: Millis,
    },
    /// Its task cannot be sent.
    #[error("schedule {name} cannot be fired: {reason}")]
    Task {
        /// The name.
        name: ScheduleName,
        /// Why.
        reason: EncodeError,
    },
    /// Its queue takes no more from schedules for now.
    #[error("nothing was sent: {waiting} tasks of schedules wait for queue {queue} already", waiting = lovage_core::OUTBOX_MAX)]
    OutboxFull {
        /// The queue.
        queue: lovage_core::QueueName,
    },
    /// Others change it all the time.
    #[error("schedule {name} is changed by others all the time; nothing was changed, try again")]
    Contended {
        /// The name.
        name: ScheduleName,
    },
    /// The broker failed; [`BrokerError::Unknown`] says that the change may have been made.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// What upserting an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// There was none of its name.
    Added,
    /// There was one that said something else.
    Changed,
    /// It stands so already.
    Unchanged,
}

impl<B: Schedules> Timetable<B> {
    /// The timetable that `broker` keeps.
    pub fn new(broker: B) -> Self {
        Self { broker }
    }

    /// The schedules in the order of their names, from the first behind `after` on, at most `limit` and
    /// [`PAGE_MAX`]; perhaps fewer. Empty where there are no more.
    pub async fn list(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<Standing>>, TimetableError> {
        let limit = limit.min(PAGE_MAX);
        let looked = bounded(CALL_MAX, self.broker.schedules(after, limit)).await?;
        Ok(Looked {
            now: looked.now,
            found: looked.found.into_iter().map(Standing::from).collect(),
        })
    }

    /// One schedule, if there is one of this name.
    pub async fn get(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<Standing>>, TimetableError> {
        let looked = bounded(CALL_MAX, self.broker.schedule(name)).await?;
        Ok(Looked {
            now: looked.now,
            found: looked.found.map(Standing::from),
        })
    }

    /// Adds an entry made at run time, or changes it to what `entry` says; its origin is taken to be
    /// [`Origin::Runtime`].
    ///
    /// With the same times it goes on where it stands; with others it begins with its first occurrence from now on.
    ///
    /// # Errors
    /// [`TimetableError::Owned`] if the name belongs to code or a file.
    pub async fn upsert(&self, entry: Entry) -> Result<Upserted, TimetableError> {
        let entry = Entry {
            origin: Origin::Runtime,
            ..entry
        };
        let name = entry.name.clone();
        let task = |reason| TimetableError::Task {
            name: name.clone(),
            reason,
        };
        entry.check().map_err(task)?;
        if let (Some(starting), Some(ending)) = (entry.schedule.starts(), entry.schedule.ends())
            && ending < starting
        {
            return Err(TimetableError::EndsFirst {
                name,
                starting,
                ending,
            });
        }
        self.change(&name, |now, before| {
            let Some((version, record)) = before else {
                let added = sources::store(&entry, None, now).map_err(task)?;
                return Ok(Step::Make(added, Upserted::Added));
            };
            owned_by_runtime(&record)?;
            if record.entry.same_as(&entry) {
                return Ok(Step::Done(Upserted::Unchanged));
            }
            let changed = sources::store(&entry, Some((version, record)), now).map_err(task)?;
            Ok(Step::Make(changed, Upserted::Changed))
        })
        .await
    }

    /// Lets a schedule fire no more until it is resumed. Answers whether it did before. One that waits for the end of
    /// its last run is given up.
    pub async fn pause(&self, name: &ScheduleName) -> Result<bool, TimetableError> {
        self.change(name, |now, before| {
            let (version, mut record) = found(name, before)?;
            if record.state.paused.is_some() {
                return Ok(Step::Done(false));
            }
            let waiting = record.state.waiting.take();
            let firing = waiting.map(|waiting| {
                Firing::one(now, waiting, Fate::Skipped(crate::firing::Reason::Paused))
            });
            record.state.paused = Some(now);
            record.state.changed = now;
            let paused = change(version, &record, now, firing.as_ref())?;
            Ok(Step::Make(paused, true))
        })
        .await
    }

    /// Lets a paused schedule fire again, with its first occurrence from now on; those meanwhile are skipped. Answers
    /// whether it was paused.
    pub async fn resume(&self, name: &ScheduleName) -> Result<bool, TimetableError> {
        self.change(name, |now, before| {
            let (version, mut record) = found(name, before)?;
            if record.state.paused.is_none() {
                return Ok(Step::Done(false));
            }
            let passed = plan::resume(&record.entry, &mut record.state, now);
            record.state.changed = now;
            let resumed = change(version, &record, now, passed.as_ref())?;
            Ok(Step::Make(resumed, true))
        })
        .await
    }

    /// Removes an entry made at run time, and its history. Answers whether there was one. What it has sent goes on.
    ///
    /// # Errors
    /// [`TimetableError::Owned`] if it belongs to code or a file. One that cannot be read is removed.
    pub async fn delete(&self, name: &ScheduleName) -> Result<bool, TimetableError> {
        for _ in 0..ATTEMPTS_MAX {
            let Looked { found, .. } = bounded(CALL_MAX, self.broker.schedule(name)).await?;
            let Some(stored) = found else {
                return Ok(false);
            };
            if let Ok(record) = Record::decode(name, &stored.record) {
                owned_by_runtime(&record)?;
            }
            match self.amend(sources::removal(&stored)).await? {
                Amended::Done(_) => return Ok(true),
                answer => self.conflict(answer).await?,
            }
        }
        Err(TimetableError::Contended { name: name.clone() })
    }

    /// Sends the task of a schedule now, beside its occurrences and a run that goes on, whether it is paused or not. It
    /// does not count among its runs, but the next occurrence looks at it as at the run before it.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`] if no answer came: it may have been sent.
    pub async fn run_now(&self, name: &ScheduleName) -> Result<TaskId, TimetableError> {
        let (id, queue) = self
            .change(name, |now, before| {
                let (version, mut record) = found(name, before)?;
                // No version comes twice, so that two calls at one instant are two tasks.
                let text = format!("lovage.run_now {name} {} {version}", now.get());
                let id = TaskId::derived(text.as_bytes());
                let task = record.entry.task(id, now, now);
                let task = task.map_err(|reason| task_error(name, reason))?;
                let queue = record.entry.template.queue.clone();
                record.state.run_by_hand(LastRun {
                    at: now,
                    occurrence: now,
                    id,
                    queue: queue.clone(),
                });
                let fate = Fate::RunNow {
                    id,
                    queue: queue.clone(),
                };
                let firing = Firing::one(now, now, fate);
                let mut sent = change(version, &record, now, Some(&firing))?;
                sent.sends.push((queue.clone(), task));
                Ok(Step::Make(sent, (id, queue)))
            })
            .await?;
        // A leader forwards it; where there is none, nobody would for a while.
        let leader = bounded(CALL_MAX, self.broker.leader()).await;
        if !matches!(leader, Ok(Some(leader)) if !leader.ends_in.is_zero()) {
            self.forward(&queue).await;
        }
        Ok(id)
    }

    /// The last firings of a schedule, newest first, at most `limit` of the [`FIRINGS_MAX`] that are kept. What this
    /// build cannot read is left out.
    pub async fn firings(
        &self,
        name: &ScheduleName,
        limit: usize,
    ) -> Result<Vec<Firing>, TimetableError> {
        let limit = limit.min(FIRINGS_MAX);
        let firings = bounded(CALL_MAX, self.broker.firings(name, limit)).await?;
        let firings = firings.iter().map(|firing| Firing::decode(firing));
        Ok(firings.filter_map(Result::ok).collect())
    }

    /// Has the schedules of an origin be what `source` says, and nothing beside, as a beat does when it starts.
    pub async fn apply(&self, source: &Source) -> Result<Applied, SourceError> {
        sources::apply(&self.broker, source).await
    }

    /// Forwards what waits for `queue`; what cannot be now is left to the next leader.
    async fn forward(&self, queue: &lovage_core::QueueName) {
        let page = std::num::NonZeroU16::new(100).expect("it is not zero");
        // An outbox has so many pages at most.
        for _ in 0..lovage_core::OUTBOX_MAX / 100 {
            match forward_page(&self.broker, queue, page).await {
                Ok(Page::Forwarded { more: true, .. }) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%queue, %error, "a task waits for the next beat that leads");
                    return;
                }
            }
        }
    }

    /// Reads a schedule, and makes the change that `decide` says, again where somebody else was first.
    async fn change<T>(
        &self,
        name: &ScheduleName,
        decide: impl Fn(Millis, Option<(u64, Record)>) -> Result<Step<T>, TimetableError>,
    ) -> Result<T, TimetableError> {
        for _ in 0..ATTEMPTS_MAX {
            let Looked { now, found } = bounded(CALL_MAX, self.broker.schedule(name)).await?;
            let before = match found {
                None => None,
                Some(stored) => Some((stored.version, read(&stored)?)),
            };
            match decide(now, before)? {
                Step::Done(answer) => return Ok(answer),
                Step::Make(amendment, answer) => match self.amend(amendment).await? {
                    Amended::Done(_) => return Ok(answer),
                    refused => self.conflict(refused).await?,
                },
            }
        }
        Err(TimetableError::Contended { name: name.clone() })
    }

    async fn amend(&self, amendment: Amendment) -> Result<Amended, BrokerError> {
        let answers = bounded(CALL_MAX, self.broker.amend(None, vec![amendment])).await?;
        // A broker that answers nothing has changed nothing.
        Ok(answers.into_iter().next().unwrap_or(Amended::Conflict))
    }

    /// What a refused change means: nothing more than to read again, or an error.
    async fn conflict(&self, answer: Amended) -> Result<(), TimetableError> {
        if let Amended::OutboxFull(queue) = answer {
            return Err(TimetableError::OutboxFull { queue });
        }
        // A schedule of a few milliseconds is changed by its leader often.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..5))).await;
        Ok(())
    }
}

/// What to do about a schedule that was read.
enum Step<T> {
    /// Nothing.
    Done(T),
    /// This change.
    Make(Amendment, T),
}

fn read(stored: &StoredSchedule) -> Result<Record, TimetableError> {
    Record::decode(&stored.name, &stored.record).map_err(|reason| TimetableError::Unreadable {
        name: stored.name.clone(),
        reason,
    })
}

fn found(
    name: &ScheduleName,
    before: Option<(u64, Record)>,
) -> Result<(u64, Record), TimetableError> {
    before.ok_or_else(|| TimetableError::NoSchedule { name: name.clone() })
}

fn owned_by_runtime(record: &Record) -> Result<(), TimetableError> {
    match &record.entry.origin {
        Origin::Runtime => Ok(()),
        owner => Err(TimetableError::Owned {
            name: record.entry.name.clone(),
            owner: owner.clone(),
        }),
    }
}

fn task_error(name: &ScheduleName, reason: EncodeError) -> TimetableError {
    TimetableError::Task {
        name: name.clone(),
        reason,
    }
}

fn change(
    version: u64,
    record: &Record,
    now: Millis,
    firing: Option<&Firing>,
) -> Result<Amendment, TimetableError> {
    let name = &record.entry.name;
    Ok(Amendment {
        name: name.clone(),
        expected: Some(version),
        change: Change::Store {
            record: record.encode().map_err(|reason| task_error(name, reason))?,
            wake: plan::wake(&record.entry, &record.state, now),
        },
        sends: Vec::new(),
        firings: firing.into_iter().map(Firing::encode).collect(),
    })
}

impl From<StoredSchedule> for Standing {
    fn from(stored: StoredSchedule) -> Self {
        Self {
            record: Record::decode(&stored.name, &stored.record),
            name: stored.name,
            version: stored.version,
            wake: stored.wake,
        }
    }
}
