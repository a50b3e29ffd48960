//! The books: where each task is, by what the broker did, and what that allows next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lovage_core::{Ack, Event as Move, LOSSES_MAX, Millis, Place, TaskId, When};

use crate::history::{Event, Identity, Run, Said, What};
use crate::work::{Job, RETRIES};

/// All that is known after some part of a history.
pub(super) struct Books<'a> {
    jobs: &'a BTreeMap<TaskId, Job>,
    tasks: BTreeMap<TaskId, Task>,
    leases: BTreeMap<Identity, Millis>,
    /// When each identity was given its lease last.
    leased_at: BTreeMap<Identity, Duration>,
    /// By how much the broker's clock is ahead of all others.
    ahead: Duration,
    jumped_at: Option<Duration>,
    began: Option<(Duration, Millis)>,
}

/// One task, from one storing to the next.
struct Task {
    place: Place,
    due: Millis,
    expires: Option<Millis>,
    /// By whom and by which fence it is or was held last.
    held: Option<(Identity, u64)>,
    claimed: Option<(Duration, Millis)>,
    cancelled: bool,
    attempts: u32,
    losses: u32,
    /// By fence: to whom it was handed out.
    handed: BTreeMap<u64, Identity>,
    begun: BTreeSet<u64>,
    /// By fence: by whom.
    running: BTreeMap<u64, Identity>,
    succeeded: BTreeSet<u64>,
    /// How its stays ended.
    ends: BTreeSet<&'static str>,
    /// The last fence of all its stays: it only grows.
    fence_max: u64,
}

type Checked = Result<(), String>;

impl<'a> Books<'a> {
    pub(super) fn new(jobs: &'a BTreeMap<TaskId, Job>) -> Self {
        Self {
            jobs,
            tasks: BTreeMap::new(),
            leases: BTreeMap::new(),
            leased_at: BTreeMap::new(),
            ahead: Duration::ZERO,
            jumped_at: None,
            began: None,
        }
    }

    /// All tasks that were ever stored, and where they are.
    pub(super) fn places(&self) -> impl Iterator<Item = (TaskId, Place)> {
        self.tasks.iter().map(|(id, task)| (*id, task.place))
    }

    pub(super) fn knows(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Takes one event in, unless it breaks a promise.
    pub(super) fn take(&mut self, event: &Event) -> Checked {
        self.keep_time(event);
        match &event.what {
            What::Stored(_, id) => self.stored(*id, event),
            What::Leased(by, until) => {
                self.leased_at.insert(*by, event.at);
                let lease = self.leases.entry(*by).or_default();
                *lease = (*lease).max(*until);
                Ok(())
            }
            What::Claimed {
                by,
                id,
                fence,
                losses,
            } => self.claimed(*by, *id, fence.number, *losses, event),
            What::Settled {
                by,
                id,
                fence,
                verdict,
                stale,
            } => self.settled((*by, fence.number), *id, *verdict, *stale, event.now),
            What::Taken(id, place) => self.taken(*id, *place, event.now),
            What::Cancelled(id, place) => self.cancelled(*id, *place),
            What::Began {
                id, fence, attempt, ..
            } => self.began(*id, *fence, *attempt, event),
            What::Ended { id, fence, how } => self.ended(*id, *fence, *how),
            What::Told(id, how) => self.told(*id, how),
            What::Accepted(_) | What::Fired(_) | What::Fault(_) => Ok(()),
        }
    }

    /// Sees the broker's clock jump.
    fn keep_time(&mut self, event: &Event) {
        let (at, now) = *self.began.get_or_insert((event.at, event.now));
        let ahead = event
            .now
            .since(now)
            .saturating_sub(event.at.saturating_sub(at));
        if self.ahead + Duration::from_millis(2) < ahead {
            self.ahead = ahead;
            self.jumped_at = Some(event.at);
        }
    }

    fn task(&mut self, id: TaskId) -> Result<&mut Task, String> {
        self.tasks
            .get_mut(&id)
            .ok_or_else(|| "it was never stored".into())
    }

    fn stored(&mut self, id: TaskId, event: &Event) -> Checked {
        let envelope = self.jobs.get(&id).map(|job| &job.envelope);
        let at = |when: When| match when {
            When::In(span) => event.now.plus(span),
            When::At(instant) => instant,
        };
        let due = envelope.and_then(|e| e.start).map_or(event.now, at);
        let mut task = Task {
            place: if event.now < due {
                Place::Scheduled
            } else {
                Place::Ready
            },
            due,
            expires: envelope.and_then(|e| e.expires).map(at),
            held: None,
            claimed: None,
            cancelled: false,
            attempts: 0,
            losses: 0,
            handed: BTreeMap::new(),
            begun: BTreeSet::new(),
            running: BTreeMap::new(),
            succeeded: BTreeSet::new(),
            ends: BTreeSet::new(),
            fence_max: 0,
        };
        if let Some(before) = self.tasks.remove(&id) {
            if before.place != Place::Gone {
                return Err(format!(
                    "stored a second time, while it is {:?}",
                    before.place
                ));
            }
            // A second copy of a send: what still runs of the first counts.
            task.running = before.running;
            task.fence_max = before.fence_max;
            task.begun = before.begun;
            task.handed = before.handed;
            task.ends = before.ends;
        }
        self.tasks.insert(id, task);
        Ok(())
    }

    fn claimed(
        &mut self,
        by: Identity,
        id: TaskId,
        fence: u64,
        losses: u32,
        event: &Event,
    ) -> Checked {
        let lease = self.leases.get(&by).copied().unwrap_or_default();
        let task = self.task(id)?;
        if task.place == Place::Scheduled && task.due <= event.now {
            task.go(Move::Due)?;
        }
        if event.now < task.due {
            return Err(format!("claimed before its time, {}", task.due));
        }
        if lease <= event.now {
            return Err(format!("claimed by {by}, whose lease has ended at {lease}"));
        }
        if fence <= task.fence_max {
            return Err(format!(
                "claimed by fence {fence} after fence {}",
                task.fence_max
            ));
        }
        if losses != task.losses {
            return Err(format!(
                "claimed with {losses} losses, it has {}",
                task.losses
            ));
        }
        task.go(Move::Claim)?;
        task.held = Some((by, fence));
        task.handed.insert(fence, by);
        task.fence_max = fence;
        task.claimed = Some((event.at, event.now));
        Ok(())
    }

    fn settled(
        &mut self,
        held: (Identity, u64),
        id: TaskId,
        verdict: Said,
        stale: bool,
        now: Millis,
    ) -> Checked {
        let allowed = self.retries(id);
        let task = self.task(id)?;
        let is_held = task.place == Place::Active && task.held == Some(held);
        if stale {
            return refuse(is_held, "its holder's verdict was refused as stale");
        }
        if !is_held {
            return Err(format!(
                "a verdict by fence {} was applied, and it is not held by that",
                held.1
            ));
        }
        refuse(
            task.running.contains_key(&held.1),
            "it was settled while its body runs",
        )?;
        let ran_well = task.succeeded.contains(&held.1);
        refuse(
            ran_well && verdict != Said::Done,
            "its body has succeeded, and its worker says something else",
        )?;
        refuse(
            verdict == Said::Done && !ran_well,
            "its worker says that it has run, and no body has succeeded",
        )?;
        if task.cancelled && verdict != Said::Done && verdict != Said::Expired {
            return task.end("cancelled", Move::Cancel);
        }
        match verdict {
            Said::Done | Said::Expired => task.end(
                if verdict == Said::Done {
                    "done"
                } else {
                    "expired"
                },
                Move::Done,
            ),
            Said::RetryIn(span) => {
                task.attempts += 1;
                task.due = now.plus(span);
                if allowed < task.attempts {
                    return Err(format!(
                        "attempt {} of {} failed, and it is to run again",
                        task.attempts,
                        allowed + 1
                    ));
                }
                task.go(Move::RetryIn)
            }
            Said::PutOff(span) => {
                task.due = now.plus(span);
                task.go(Move::RetryIn)
            }
            Said::Released => task.go(Move::Release),
            Said::Buried => task.end("failed", Move::Bury),
        }
    }

    fn taken(&mut self, id: TaskId, place: Place, now: Millis) -> Checked {
        let early = self.is_early(id);
        let task = self.tasks.get_mut(&id).ok_or("it was never stored")?;
        let Some((by, _)) = task.held.filter(|_| task.place == Place::Active) else {
            return Err("recovery took it, and nobody held it".into());
        };
        let lease = self.leases.get(&by).copied().unwrap_or_default();
        if now < lease {
            return Err(format!(
                "recovery took it from {by}, whose lease lasts until {lease}"
            ));
        }
        task.losses += 1;
        if task.cancelled {
            task.end("cancelled", Move::Cancel)?;
        } else if early || LOSSES_MAX <= task.losses {
            task.end("failed", Move::Bury)?;
        } else {
            task.go(Move::Recover)?;
        }
        if task.place == place {
            return Ok(());
        }
        Err(format!(
            "recovery has made it {place:?}, it should be {:?} after {} losses",
            task.place, task.losses
        ))
    }

    fn cancelled(&mut self, id: TaskId, place: Place) -> Checked {
        let task = self.task(id)?;
        refuse(
            (task.place == Place::Active) != (place == Place::Active),
            "cancelled as if it were elsewhere",
        )?;
        if place == Place::Active {
            task.cancelled = true;
            return Ok(());
        }
        task.end("cancelled", Move::Cancel)
    }

    fn began(&mut self, id: TaskId, fence: u64, attempt: u32, event: &Event) -> Checked {
        let early = self.is_early(id);
        let allowed = self.retries(id);
        let task = self.tasks.get_mut(&id).ok_or("it was never stored")?;
        let by = task.handed.get(&fence).copied();
        let by = by.ok_or("it begins, and was never handed out so")?;
        for (other, holder) in &task.running {
            let lease = self.leases.get(holder).copied().unwrap_or_default();
            if event.now < lease {
                return Err(format!(
                    "begins by fence {fence} while it runs by fence {other}, whose lease lasts until {lease}"
                ));
            }
        }
        refuse(!task.begun.insert(fence), "begins twice by one fence")?;
        refuse(
            early && 1 < task.begun.len(),
            "may run at most once, and begins a second time",
        )?;
        refuse(allowed + 1 < attempt, "begins more often than it may")?;
        // Only where the broker's clock has jumped since it was given its lease may a worker be wrong about that.
        let leased_at = self.leased_at.get(&by).copied().unwrap_or_default();
        let may_be_wrong = self
            .jumped_at
            .is_some_and(|jumped_at| leased_at <= jumped_at);
        let is_held = task.place == Place::Active && task.held == Some((by, fence));
        refuse(
            !is_held && !may_be_wrong,
            "begins although its worker holds it no more",
        )?;
        if let (Some(expires), Some((at, now)), true) = (task.expires, task.claimed, is_held) {
            let here = now.plus(event.at.saturating_sub(at));
            // The broker's milliseconds are cut off.
            if expires.plus(Duration::from_millis(1)) < here {
                return Err(format!("begins after it has expired, at {expires}"));
            }
        }
        task.running.insert(fence, by);
        Ok(())
    }

    fn ended(&mut self, id: TaskId, fence: u64, how: Run) -> Checked {
        let task = self.task(id)?;
        if task.running.remove(&fence).is_none() {
            return Err(format!("ends by fence {fence}, and has not begun by it"));
        }
        if how == Run::Succeeded {
            task.succeeded.insert(fence);
        }
        Ok(())
    }

    fn told(&mut self, id: TaskId, how: &str) -> Checked {
        let task = self.task(id)?;
        // What is not kept is unknown a moment after it has ended.
        if task.ends.contains(how) || (how == "unknown" && task.place == Place::Gone) {
            return Ok(());
        }
        Err(format!(
            "its sender was told that it is {how}, and it ended {:?}",
            task.ends
        ))
    }

    fn is_early(&self, id: TaskId) -> bool {
        self.jobs
            .get(&id)
            .is_some_and(|job| job.envelope.ack == Ack::Early)
    }

    fn retries(&self, id: TaskId) -> u32 {
        let said = self.jobs.get(&id).and_then(|job| job.envelope.max_retries);
        said.unwrap_or(RETRIES)
    }
}

impl Task {
    fn end(&mut self, how: &'static str, step: Move) -> Checked {
        self.ends.insert(how);
        self.go(step)
    }

    fn go(&mut self, step: Move) -> Checked {
        match self.place.on(step) {
            Some(place) => {
                self.place = place;
                Ok(())
            }
            None => Err(format!(
                "{step:?} cannot happen to it, it is {:?}",
                self.place
            )),
        }
    }
}

fn refuse(wrong: bool, text: &str) -> Checked {
    if wrong { Err(text.into()) } else { Ok(()) }
}
