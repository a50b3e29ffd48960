//! The books: where each task is, by what the broker did, and what that allows next.

mod ends;
mod lease;
mod sends;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lovage_core::{
    Ack, Enqueued, Envelope, Event as Move, Millis, Place, QueueName, TaskId, Until, When,
};

use self::lease::Lease;
use super::keys::Keys;
use crate::history::{Event, Identity, Run, Said, What};
use crate::work::{Job, RETRIES};

/// All that is known after some part of a history.
pub(super) struct Books<'a> {
    jobs: &'a BTreeMap<TaskId, Job>,
    tasks: BTreeMap<TaskId, Task>,
    keys: BTreeMap<QueueName, Keys>,
    /// By task that is dead and owes a callback: when it died.
    owing: BTreeMap<TaskId, Millis>,
    /// Whose death each callback is of, and whether it was stored.
    calls: BTreeMap<TaskId, (TaskId, Millis, bool)>,
    leases: BTreeMap<Identity, Lease>,
    /// When each identity was given its lease last.
    leased_at: BTreeMap<Identity, Duration>,
    /// By how many milliseconds the broker's clock is ahead of all others.
    ahead: i64,
    /// When it last jumped forward.
    jumped_at: Option<Duration>,
    began: Option<(Duration, Millis)>,
    last: (Duration, Millis),
    /// What the broker's clock showed whenever it was set back.
    peaks: Vec<(Duration, Millis)>,
}

/// One task, from one storing to the next.
struct Task {
    queue: QueueName,
    /// Whose message it has: its own, or that of one that took its place.
    sent: TaskId,
    place: Place,
    due: Millis,
    /// Since when it is due then.
    since: Duration,
    expires: Option<Millis>,
    /// By whom and by which fence it is or was held last.
    held: Option<(Identity, u64)>,
    claimed: Option<(Duration, Millis)>,
    cancelled: bool,
    /// Whether a worker has taken it since it was sent.
    taken: bool,
    attempts: u32,
    losses: u32,
    snoozes: u32,
    /// By fence: as what it was handed out.
    handed: BTreeMap<u64, Handed>,
    begun: BTreeSet<u64>,
    /// How often it has begun, since its body put it off or somebody revived it.
    begun_again: u32,
    /// By fence: by whom.
    running: BTreeMap<u64, Identity>,
    /// By fence: how its run ended.
    ran: BTreeMap<u64, Run>,
    /// How its stays ended.
    ends: BTreeSet<&'static str>,
    /// The last fence of all its stays: it only grows.
    fence_max: u64,
}

/// A handing-out.
struct Handed {
    to: Identity,
    attempts: u32,
    snoozes: u32,
    sent: TaskId,
}

type Checked = Result<(), String>;

impl<'a> Books<'a> {
    pub(super) fn new(jobs: &'a BTreeMap<TaskId, Job>) -> Self {
        Self {
            jobs,
            tasks: BTreeMap::new(),
            keys: BTreeMap::new(),
            owing: BTreeMap::new(),
            calls: BTreeMap::new(),
            leases: BTreeMap::new(),
            leased_at: BTreeMap::new(),
            ahead: 0,
            jumped_at: None,
            began: None,
            last: Default::default(),
            peaks: Vec::new(),
        }
    }

    /// All tasks that were ever stored, and where they are.
    pub(super) fn places(&self) -> impl Iterator<Item = (TaskId, Place)> {
        self.tasks.iter().map(|(id, task)| (*id, task.place))
    }

    /// The deaths that nobody was called back for.
    pub(super) fn owing(&self) -> impl Iterator<Item = TaskId> {
        let called = |id: TaskId, died_at: Millis| {
            self.calls.values().any(|call| *call == (id, died_at, true))
        };
        let owing = self.owing.iter();
        owing
            .filter(move |(id, died_at)| !called(**id, **died_at))
            .map(|(id, _)| *id)
    }

    /// Whether it is the callback of some death.
    pub(super) fn is_call(&self, id: TaskId) -> bool {
        self.calls.contains_key(&id)
    }

    pub(super) fn knows(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Takes one event in, unless it breaks a promise.
    pub(super) fn take(&mut self, event: &Event) -> Checked {
        self.keep_time(event);
        match &event.what {
            What::Stored(queue, id) => self.answered(queue, *id, Enqueued::New, event),
            What::Answered(id, answer) => {
                let queue = match self.message(*id) {
                    Some(message) => message.queue.clone(),
                    None => self.task(*id)?.queue.clone(),
                };
                self.answered(&queue, *id, *answer, event)
            }
            What::Leased(by, until) => {
                self.leased_at.insert(*by, event.at);
                let lease = Lease {
                    until: *until,
                    over: event.at + until.since(event.now),
                };
                self.leases.insert(*by, lease);
                Ok(())
            }
            What::Claimed {
                by,
                id,
                fence,
                losses,
                snoozes,
            } => self.claimed((*by, fence.number), *id, (*losses, *snoozes), event),
            What::Settled {
                by,
                id,
                fence,
                verdict,
                stale,
            } => self.settled((*by, fence.number), *id, *verdict, *stale, event),
            What::Taken(id, place) => self.taken(*id, *place, event),
            What::Cancelled(id, place) => self.cancelled(*id, *place),
            What::Revived(id, revived) => self.revived(*id, *revived, event),
            What::Owed { id, died_at, call } => {
                if self.owing.get(id) != Some(died_at) {
                    return Err(format!(
                        "shown as owing a callback for its death at {died_at}"
                    ));
                }
                self.calls.entry(*call).or_insert((*id, *died_at, false));
                Ok(())
            }
            What::Heard { call, of, died_at } => {
                let known = self.calls.get(call).map(|(id, at, _)| (id, at));
                refuse(
                    known != Some((of, died_at)),
                    "called back for another death",
                )
            }
            What::Began {
                id,
                fence,
                attempt,
                snoozes,
                sent,
                ..
            } => self.began(*id, *fence, (*attempt, *snoozes, *sent), event),
            What::Ended { id, fence, how } => self.ended(*id, *fence, *how),
            What::Told(id, how) => self.told(*id, how),
            What::Accepted(_) | What::Fired(_) | What::Fault(_) => Ok(()),
        }
    }

    /// Sees the broker's clock jump.
    fn keep_time(&mut self, event: &Event) {
        if event.now < self.last.1 {
            self.peaks.push(self.last);
        }
        self.last = (event.at, event.now);
        let (at, now) = *self.began.get_or_insert((event.at, event.now));
        let signed = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
        let by_broker = i64::try_from(event.now.get()).unwrap_or(i64::MAX)
            - i64::try_from(now.get()).unwrap_or(i64::MAX);
        let ahead = by_broker - signed(event.at.saturating_sub(at).as_millis());
        if self.ahead + 2 < ahead {
            self.jumped_at = Some(event.at);
        }
        if 2 < (ahead - self.ahead).abs() {
            self.ahead = ahead;
        }
    }

    fn claimed(
        &mut self,
        (by, fence): (Identity, u64),
        id: TaskId,
        told: (u32, u32),
        event: &Event,
    ) -> Checked {
        let lease = self.leases.get(&by).copied().unwrap_or_default();
        let lock = self.lock_of(id);
        let was_due = |task: &Task| {
            let mut peaks = self.peaks.iter();
            peaks.any(|(at, now)| task.since <= *at && task.due <= *now)
        };
        let is_due = |task: &Task| task.due <= event.now || was_due(task);
        if !self.tasks.get(&id).is_some_and(is_due) {
            return Err("claimed before its time".into());
        }
        let task = self.task(id)?;
        if task.place == Place::Scheduled {
            task.go(Move::Due)?;
        }
        if lease.until <= event.now {
            let until = lease.until;
            return Err(format!("claimed by {by}, whose lease has ended at {until}"));
        }
        if fence <= task.fence_max {
            return Err(format!(
                "claimed by fence {fence} after fence {}",
                task.fence_max
            ));
        }
        let counted = (task.losses, task.snoozes);
        if told != counted {
            return Err(format!(
                "claimed with {told:?} losses and snoozes, it has {counted:?}"
            ));
        }
        task.go(Move::Claim)?;
        task.held = Some((by, fence));
        let handed = Handed {
            to: by,
            attempts: task.attempts,
            snoozes: task.snoozes,
            sent: task.sent,
        };
        task.handed.insert(fence, handed);
        task.fence_max = fence;
        task.claimed = Some((event.at, event.now));
        task.taken = true;
        if let Some(lock) = lock.filter(|lock| lock.until == Until::Start) {
            self.keys(id).let_go(id, lock);
        }
        Ok(())
    }

    fn settled(
        &mut self,
        held: (Identity, u64),
        id: TaskId,
        verdict: Said,
        stale: bool,
        event: &Event,
    ) -> Checked {
        let now = event.now;
        let (allowed, early) = (self.retries(id), self.is_early(id));
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
        let ran = task.ran.get(&held.1).copied();
        let exhausted = allowed <= task.attempts || early;
        check_verdict(ran, verdict, exhausted)?;
        if task.cancelled && verdict != Said::Done && verdict != Said::Expired {
            return self.end(id, "cancelled", Move::Cancel, now);
        }
        match verdict {
            Said::Done => self.end(id, "done", Move::Done, now),
            Said::Expired => self.end(id, "expired", Move::Done, now),
            Said::RetryIn(span) => {
                task.attempts += 1;
                (task.due, task.since) = (now.plus(span), event.at);
                if allowed < task.attempts {
                    return Err(format!(
                        "attempt {} of {} failed, and it is to run again",
                        task.attempts,
                        allowed + 1
                    ));
                }
                task.go(Move::RetryIn)
            }
            Said::Snoozed(span) => {
                task.snoozes += 1;
                task.begun_again = 0;
                (task.due, task.since) = (now.plus(span), event.at);
                task.go(Move::RetryIn)
            }
            Said::Parked(_) => Err("put off by a worker that knows it".into()),
            Said::Released => task.go(Move::Release),
            Said::Buried => self.end(id, "failed", Move::Bury, now),
        }
    }

    fn began(
        &mut self,
        id: TaskId,
        fence: u64,
        told: (u32, u32, TaskId),
        event: &Event,
    ) -> Checked {
        let early = self.is_early(id);
        let task = self.tasks.get_mut(&id).ok_or("it was never stored")?;
        let handed = task.handed.get(&fence);
        let handed = handed.ok_or("it begins, and was never handed out so")?;
        let by = handed.to;
        let counted = (handed.attempts + 1, handed.snoozes, handed.sent);
        if told != counted {
            return Err(format!(
                "begins as attempt, snoozes and message {told:?}, it was handed out as {counted:?}"
            ));
        }
        for (other, holder) in &task.running {
            let lease = self.leases.get(holder).copied().unwrap_or_default();
            if lease.lasts(event) {
                return Err(format!(
                    "begins by fence {fence} while it runs by fence {other}, whose lease lasts until {}",
                    lease.until
                ));
            }
        }
        refuse(!task.begun.insert(fence), "begins twice by one fence")?;
        task.begun_again += 1;
        refuse(
            early && 1 < task.begun_again,
            "may run at most once, and begins a second time",
        )?;
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
        task.ran.insert(fence, how);
        Ok(())
    }

    fn told(&mut self, id: TaskId, how: &str) -> Checked {
        let task = self.task(id)?;
        // What is not kept is unknown from its end until it is sent again, and the answer may be late.
        if task.ends.contains(how) || (how == "unknown" && !task.ends.is_empty()) {
            return Ok(());
        }
        Err(format!(
            "its sender was told that it is {how}, and it ended {:?}",
            task.ends
        ))
    }

    fn is_early(&self, id: TaskId) -> bool {
        self.message_of(id)
            .is_some_and(|message| message.ack == Ack::Early)
    }

    fn retries(&self, id: TaskId) -> u32 {
        let said = self.message_of(id).and_then(|message| message.max_retries);
        said.unwrap_or(RETRIES)
    }
}

impl Task {
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

/// Whether a worker may say so of a run that ended so.
fn check_verdict(ran: Option<Run>, said: Said, exhausted: bool) -> Checked {
    let has_failed = |delay: Option<Duration>| match said {
        Said::RetryIn(span) => delay.is_none_or(|delay| delay == span),
        Said::Buried => exhausted,
        // It was told to end: what it says is about that.
        Said::Released => true,
        _ => false,
    };
    let may = match ran {
        Some(Run::Succeeded) => said == Said::Done,
        Some(Run::Snoozed(span)) => said == Said::Snoozed(span),
        Some(Run::FailedForGood) => matches!(said, Said::Buried | Said::Released),
        Some(Run::FailedFor(span)) => has_failed(Some(span)),
        Some(Run::Failed | Run::Dropped) => has_failed(None),
        None => matches!(
            said,
            Said::Expired | Said::Released | Said::Buried | Said::RetryIn(_)
        ),
    };
    match ran {
        _ if may => Ok(()),
        Some(Run::Succeeded) => {
            Err("its body has succeeded, and its worker says something else".into())
        }
        _ if said == Said::Done => {
            Err("its worker says that it has run, and no body has succeeded".into())
        }
        _ => Err(format!(
            "its run ended {ran:?}, and its worker says {said:?}"
        )),
    }
}

fn at(when: When, now: Millis) -> Millis {
    match when {
        When::In(span) => now.plus(span),
        When::At(instant) => instant,
    }
}

/// When a message that is accepted now is due.
fn due(message: Option<&Envelope>, limit: Option<Millis>, now: Millis) -> Millis {
    let debounced = |message: &Envelope| message.unique?.delay().map(When::In);
    let start = message.and_then(|message| message.start.or_else(|| debounced(message)));
    let due = start.map_or(now, |when| at(when, now));
    limit.map_or(due, |limit| due.min(limit))
}

fn waiting(due: Millis, now: Millis) -> Place {
    if now < due {
        Place::Scheduled
    } else {
        Place::Ready
    }
}

fn refuse(wrong: bool, text: &str) -> Checked {
    if wrong { Err(text.into()) } else { Ok(()) }
}
