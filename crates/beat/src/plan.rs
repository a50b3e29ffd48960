//! Decides what becomes of the occurrences that are due. Pure: the same record at the same instant has the same plan,
//! whichever beat makes it.

use std::time::Duration;

use lovage_core::{Millis, TaskId, ms, secs, span_ms};

use crate::entry::{Entry, Origin};
use crate::firing::{Fate, Firing, Reason};
use crate::occurrence;
use crate::policies::{Misfire, Overlap};
use crate::schedule::Schedule;
use crate::state::{LastRun, Record, State};

/// The most tasks that one plan fires; the rest is due at once in the next.
pub(crate) const FIRE_MAX: usize = 100;
/// The most occurrences that one plan looks at one by one.
const WALK_MAX: u64 = 1000;
/// As late as this an occurrence is fired even where misfires are skipped: the lead may have changed hands.
const FAIL_OVER: Duration = secs(10);
/// The span between two looks whether the run has ended that an occurrence waits for: a quarter of how long it has
/// run already, within these bounds.
const RELOOK_MIN: Duration = ms(200);
const RELOOK_MAX: Duration = secs(5);

/// What is known of the last run of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Previous {
    /// It has ended, or there was none, or nobody asks.
    Ended,
    /// It has not ended yet.
    Live(TaskId),
}

/// What becomes of a schedule at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How far it has come then.
    pub(crate) state: State,
    /// The tasks to send, in the order of their occurrences.
    pub(crate) fire: Vec<Shot>,
    /// What to remember of it, oldest first.
    pub(crate) firings: Vec<Firing>,
    /// When to look again; `None` is never.
    pub(crate) wake: Option<Millis>,
}

/// One task to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    /// The nominal instant.
    pub(crate) occurrence: Millis,
    /// The task.
    pub(crate) id: TaskId,
}

/// Decides on what is due at `now`, firing at most `fire_max` tasks.
pub(crate) fn plan(
    entry: &Entry,
    state: &State,
    now: Millis,
    previous: Previous,
    fire_max: usize,
) -> Plan {
    let mut planner = Planner {
        entry,
        now,
        previous,
        fire_max,
        state: state.clone(),
        fire: Vec::new(),
        firings: Vec::new(),
    };
    if state.paused.is_none() {
        planner.decide_all();
    }
    let Planner {
        state,
        fire,
        firings,
        ..
    } = planner;
    // What is left for the next plan is due now, behind all that has waited for longer: a schedule that has a week to
    // catch up with takes its turns among the others.
    let wake = wake(entry, &state, now).map(|wake| wake.max(now));
    Plan {
        state,
        fire,
        firings,
        wake,
    }
}

/// When a leader must look at it, as seen at `now`; `None` is never.
pub(crate) fn wake(entry: &Entry, state: &State, now: Millis) -> Option<Millis> {
    if state.paused.is_some() {
        return None;
    }
    let next = state.next.map(|next| fires_at(entry, next));
    let relook = state.waiting.map(|_| {
        let age = state.last.as_ref().map(|last| now.since(last.at));
        now.plus((age.unwrap_or_default() / 4).clamp(RELOOK_MIN, RELOOK_MAX))
    });
    match (next, relook) {
        (Some(next), Some(relook)) => Some(next.min(relook)),
        (next, relook) => next.or(relook),
    }
}

/// When the occurrence is fired: its nominal instant and its jitter.
///
/// The jitter takes at most half the way to the following occurrence. So they are fired in their order, and a
/// leader never finds one overtaken that only its jitter has held back.
pub(crate) fn fires_at(entry: &Entry, occurrence: Millis) -> Millis {
    let max = entry.schedule.jitter_limit();
    if max.is_zero() {
        return occurrence;
    }
    let following = entry.schedule.next_after(occurrence);
    let max = following.map_or(max, |following| max.min(following.since(occurrence) / 2));
    // In whole milliseconds, downwards: rounded up, it would pass the half.
    let max = Duration::from_millis(u64::try_from(max.as_millis()).unwrap_or(u64::MAX));
    occurrence.plus(occurrence::jitter(&entry.name, occurrence, max))
}

/// The record of a schedule that shall be as `entry` says, and was as `before` says until `now`.
///
/// With the same times it goes on where it stands; with others it begins anew. A paused one stays paused.
pub(crate) fn restate(entry: &Entry, before: Option<&Record>, now: Millis) -> Record {
    let mut state = before
        .map(|record| record.state.clone())
        .unwrap_or_default();
    state.changed = now;
    let same_times = |record: &Record| record.entry.schedule.same_times(&entry.schedule);
    match before {
        Some(before) if same_times(before) => {
            // More runs may be allowed now.
            if state.next.is_none() {
                follow(entry, &mut state, now);
            }
        }
        Some(_) => begin(entry, &mut state, now),
        None => {
            state.created = now;
            begin(entry, &mut state, now);
        }
    }
    // One that waits still has its turn, whatever becomes of those behind it.
    Record {
        entry: entry.clone(),
        state,
    }
}

/// Lets a schedule begin with its first occurrence after `now`, or with one that a client missed by a little.
pub(crate) fn begin(entry: &Entry, state: &mut State, now: Millis) {
    state.runs = 0;
    state.waiting = None;
    follow(entry, state, now);
    if entry.origin == Origin::Runtime
        && let Some(instant) = entry.schedule.last_until(now)
        && Schedule::at(instant).same_times(&entry.schedule)
    {
        // A client that says "now" arrives later than that. Whether its only occurrence is fired all the same is up
        // to the misfire policy. What a file or the code says of the past was fired long ago, perhaps before the
        // broker's data were lost.
        follow(entry, state, before(instant));
    }
}

/// Goes on with the first occurrence after `base`, unless all its runs are done.
pub(crate) fn follow(entry: &Entry, state: &mut State, base: Millis) {
    state.base = base;
    state.next = if runs_are_done(entry, state) {
        None
    } else {
        entry.schedule.next_after(base)
    };
}

/// Lets a paused schedule go on after `now`. Answers what to remember of the occurrences meanwhile.
pub(crate) fn resume(entry: &Entry, state: &mut State, now: Millis) -> Option<Firing> {
    state.paused.take()?;
    let first = state.next.filter(|next| *next <= now)?;
    let passed = Passed::walk(entry, first, now, |occurrence| occurrence <= now);
    follow(entry, state, now);
    Some(Firing {
        decided: now,
        first,
        last: passed.last,
        count: passed.count,
        fate: Fate::Skipped(Reason::Paused),
    })
}

fn runs_are_done(entry: &Entry, state: &State) -> bool {
    entry
        .schedule
        .max_runs_limit()
        .is_some_and(|max| max <= state.runs)
}

/// Occurrences in a row.
struct Passed {
    last: Millis,
    before_last: Option<Millis>,
    count: Option<u64>,
}

impl Passed {
    /// From `first` on, which counts, to the last that `counts`, which is not behind `until`.
    fn walk(entry: &Entry, first: Millis, until: Millis, counts: impl Fn(Millis) -> bool) -> Self {
        let mut passed = Self {
            last: first,
            before_last: None,
            count: Some(1),
        };
        for n in 2..=WALK_MAX {
            match entry.schedule.next_after(passed.last) {
                Some(next) if counts(next) => {
                    passed.before_last = Some(passed.last);
                    passed.last = next;
                    passed.count = Some(n);
                }
                _ => return passed,
            }
        }
        // Weeks of a schedule of seconds: nobody counts them.
        let mut last = entry.schedule.last_until(until);
        for _ in 0..WALK_MAX {
            match last {
                // Its jitter has it.
                Some(late) if passed.last < late && !counts(late) => {
                    last = entry.schedule.last_until(before(late));
                }
                _ => break,
            }
        }
        if let Some(last) = last.filter(|last| passed.last < *last) {
            passed.before_last = entry.schedule.last_until(before(last));
            passed.last = last;
            passed.count = None;
        }
        passed
    }
}

fn before(instant: Millis) -> Millis {
    Millis::new(instant.get().saturating_sub(1))
}

struct Planner<'a> {
    entry: &'a Entry,
    now: Millis,
    previous: Previous,
    fire_max: usize,
    state: State,
    fire: Vec<Shot>,
    firings: Vec<Firing>,
}

impl Planner<'_> {
    fn decide_all(&mut self) {
        if self.entry.schedule.overlap_policy() == Overlap::Allow {
            self.previous = Previous::Ended;
        }
        if runs_are_done(self.entry, &self.state) {
            self.state.next = None;
            if let Some(waiting) = self.state.waiting.take() {
                self.skip(waiting, waiting, Some(1), Reason::Changed);
            }
        }
        if self.previous == Previous::Ended
            && let Some(waiting) = self.state.waiting.take()
        {
            self.fire(waiting);
        }
        match self.entry.schedule.misfire_policy() {
            Misfire::All => self.each(None),
            Misfire::Within(span) => self.each(Some(span)),
            Misfire::Once => self.only_the_last(None),
            Misfire::Skip => self.only_the_last(Some(FAIL_OVER)),
        }
    }

    /// The next occurrence if its time has come.
    fn due(&self) -> Option<Millis> {
        self.state.next.filter(|next| self.is_due(*next))
    }

    fn is_due(&self, occurrence: Millis) -> bool {
        // The nominal instant first: the other one costs a search.
        occurrence <= self.now && fires_at(self.entry, occurrence) <= self.now
    }

    fn is_late(&self, occurrence: Millis, late_max: Option<Duration>) -> bool {
        late_max.is_some_and(|max| max < self.now.since(fires_at(self.entry, occurrence)))
    }

    fn each(&mut self, late_max: Option<Duration>) {
        if let Some(first) = self.due().filter(|first| self.is_late(*first, late_max)) {
            let until = self
                .now
                .get()
                .saturating_sub(span_ms(late_max.unwrap_or_default()));
            let passed = Passed::walk(self.entry, first, Millis::new(until), |occurrence| {
                self.is_due(occurrence) && self.is_late(occurrence, late_max)
            });
            self.skip(first, passed.last, passed.count, Reason::Missed);
            follow(self.entry, &mut self.state, passed.last);
        }
        for _ in 0..WALK_MAX {
            let Some(occurrence) = self.due() else { return };
            if self.fire_max <= self.fire.len() {
                return;
            }
            follow(self.entry, &mut self.state, occurrence);
            self.decide(occurrence);
        }
    }

    fn only_the_last(&mut self, late_max: Option<Duration>) {
        let Some(first) = self.due() else { return };
        if self.fire_max <= self.fire.len() {
            return;
        }
        let passed = Passed::walk(self.entry, first, self.now, |occurrence| {
            self.is_due(occurrence)
        });
        let last = passed.last;
        follow(self.entry, &mut self.state, last);
        if self.is_late(last, late_max) {
            self.skip(first, last, passed.count, Reason::Missed);
            return;
        }
        if let Some(before_last) = passed.before_last {
            let reason = match late_max {
                None => Reason::Coalesced,
                Some(_) => Reason::Missed,
            };
            self.skip(first, before_last, passed.count.map(|n| n - 1), reason);
        }
        self.decide(last);
    }

    /// Fires an occurrence unless the previous run lives.
    fn decide(&mut self, occurrence: Millis) {
        let Previous::Live(live) = self.previous else {
            self.fire(occurrence);
            return;
        };
        if self.entry.schedule.overlap_policy() == Overlap::Queue && self.state.waiting.is_none() {
            self.state.waiting = Some(occurrence);
            let fate = Fate::Waits { live };
            self.firings.push(Firing::one(self.now, occurrence, fate));
        } else {
            self.skip(occurrence, occurrence, Some(1), Reason::Overlapped { live });
        }
    }

    fn fire(&mut self, occurrence: Millis) {
        let id = self.entry.task_id(occurrence);
        let queue = self.entry.template.queue.clone();
        self.fire.push(Shot { occurrence, id });
        let fate = Fate::Fired {
            id,
            queue: queue.clone(),
        };
        self.firings.push(Firing::one(self.now, occurrence, fate));
        self.state.runs += 1;
        // They have ended, or nobody asks.
        self.state.earlier.clear();
        self.state.last = Some(LastRun {
            at: self.now,
            occurrence,
            id,
            queue,
        });
        if self.entry.schedule.overlap_policy() != Overlap::Allow {
            self.previous = Previous::Live(id);
        }
        if runs_are_done(self.entry, &self.state) {
            self.state.next = None;
            self.state.waiting = None;
        }
    }

    /// Remembers skipped occurrences, in one line with those before them where the reason is the same.
    fn skip(&mut self, first: Millis, last: Millis, count: Option<u64>, reason: Reason) {
        let fate = Fate::Skipped(reason);
        match self.firings.last_mut() {
            Some(before) if before.fate == fate => {
                before.last = last;
                before.count = before
                    .count
                    .zip(count)
                    .map(|(before, these)| before + these);
            }
            _ => self.firings.push(Firing {
                decided: self.now,
                first,
                last,
                count,
                fate,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
