//! What the contract says of each task, kept apart from any broker: none is lost, none is in two places, counts only grow.

use std::collections::{BTreeMap, BTreeSet};

use lovage_core::{
    Cancelled, Claim, Cut, Delivery, Enqueued, Envelope, Fence, Lock, Millis, Place, Rescheduled,
    Revived, Settlement, TaskId, Until, Verdict, When, WorkerId,
};

use super::command::{Command, Sent};
use super::session::{Answer, Look};

/// The tasks that must live, by what was answered so far.
#[derive(Default)]
pub struct Ledger {
    live: BTreeSet<TaskId>,
    marked: BTreeSet<TaskId>,
    /// Attempts, losses and snoozes at the last delivery.
    counted: BTreeMap<TaskId, (u16, u32, u32)>,
    /// Times that were given in the place of the one that a task was sent with.
    retimed: BTreeMap<TaskId, Millis>,
    /// The locks that live tasks were sent with.
    keyed: BTreeMap<TaskId, Lock>,
    places: BTreeMap<TaskId, Place>,
    holdings: BTreeMap<TaskId, (WorkerId, Fence)>,
    last_fence: u64,
}

impl Ledger {
    /// Notes one answer and what was seen after it. Panics where they contradict the contract.
    pub fn note(&mut self, command: &Command, answer: &Answer, now: Millis, look: &Look) {
        match (command, answer) {
            (Command::Enqueue(tasks), Answer::Enqueued(Ok(answers))) => {
                for (task, answer) in tasks.iter().zip(answers) {
                    self.sent(tasks, task, *answer);
                }
            }
            (Command::Cancel(n), Answer::Cancelled(cancelled)) => {
                self.cancelled(TaskId::from_bytes([*n; 16]), *cancelled);
            }
            (_, Answer::Revived(id, revived)) => {
                let was_dead = self.places.get(id) == Some(&Place::Dead);
                assert_eq!(*revived != Revived::NotDead, was_dead, "{id}");
                if *revived == Revived::Ready {
                    self.counted.remove(id);
                    if let Command::ReviveEdited(.., lock) = command {
                        self.retimed.remove(id);
                        self.keyed.remove(id);
                        self.keyed.extend(lock.map(|lock| (*id, lock)));
                    }
                    self.check_key(*id);
                }
            }
            (_, Answer::Purged(ids)) => {
                for id in ids {
                    assert_eq!(self.places.get(id), Some(&Place::Dead), "{id}");
                    self.end(*id);
                }
            }
            (_, Answer::PurgedOlder(purged)) => {
                let dead = |look: &BTreeMap<TaskId, Place>| -> BTreeSet<TaskId> {
                    let dead = look.iter().filter(|(_, place)| **place == Place::Dead);
                    dead.map(|(id, _)| *id).collect()
                };
                let gone = &dead(&self.places) - &dead(&look.places);
                assert_eq!(gone.len() as u64, purged.count);
                for id in gone {
                    self.end(id);
                }
            }
            (_, Answer::Recovered(recovered)) => self.cut(&recovered.cut),
            (_, Answer::Rescheduled(id, rescheduled)) => {
                let was_scheduled = self.places.get(id) == Some(&Place::Scheduled);
                match rescheduled {
                    Rescheduled::Moved(due) => {
                        assert!(was_scheduled && now <= *due, "{id} is due at {due}");
                        assert!(look.scheduled.contains(&(*id, *due)), "{id}: {look:?}");
                        self.retimed.insert(*id, *due);
                    }
                    Rescheduled::NotScheduled => assert!(!was_scheduled, "{id}"),
                }
            }
            (_, Answer::Claimed(Claim::Granted(batch))) => {
                for delivery in &batch.deliveries {
                    self.delivered(delivery, now);
                }
                for delivery in &batch.deliveries {
                    self.last_fence = delivery.fence.number;
                }
            }
            (_, Answer::Settled(worker, settlements, settled)) => {
                let mut stale = Vec::new();
                for settlement in settlements {
                    // The first verdict by the right fence takes the task out of the worker's hands.
                    let holding = self.holdings.get(&settlement.id);
                    if holding == Some(&(*worker, settlement.fence)) {
                        self.holdings.remove(&settlement.id);
                        self.settled(settlement);
                    } else {
                        stale.push(settlement.id);
                    }
                }
                stale.sort_unstable();
                assert_eq!(stale, settled.stale);
                self.cut(&settled.cut);
            }
            _ => {}
        }
        self.check(look);
    }

    fn sent(&mut self, tasks: &[Sent], task: &Sent, answer: Enqueued) {
        let id = TaskId::from_bytes([task.id; 16]);
        match answer {
            Enqueued::New => {
                assert!(self.live.insert(id), "{id} lived already");
                self.places.remove(&id);
                self.keyed.extend(task.unique.map(|lock| (id, lock)));
                self.check_key(id);
            }
            Enqueued::Duplicate => {
                let lives = self.live.contains(&id);
                // What is remembered, or holds a key for its span, may be gone; so does what stands in the call again.
                let may_be_known = |same: &Sent| {
                    same.id == task.id && (same.remembered.is_some() || same.unique.is_some())
                };
                assert!(lives || tasks.iter().any(may_be_known), "{id} is gone");
            }
            Enqueued::Replaced(holder) => {
                let place = self.places.get(&holder);
                assert!(
                    self.live.contains(&holder)
                        && matches!(place, None | Some(Place::Ready | Place::Scheduled)),
                    "{id} took the place of {holder}, which is {place:?}"
                );
                let key = |lock: Lock| lock.key;
                let former = self
                    .keyed
                    .insert(holder, task.unique.expect("it has a key"));
                assert_eq!(former.map(key), task.unique.map(key), "{holder}");
                self.counted.remove(&holder);
                self.retimed.remove(&holder);
            }
            Enqueued::Existing(other) => assert_ne!(other, id),
        }
    }

    /// A key has one live task: nobody else holds that of `id`, which holds it from now on.
    fn check_key(&self, id: TaskId) {
        let Some(lock) = self.keyed.get(&id) else {
            return;
        };
        // One that held its key for a span is revived without it, beside others.
        if matches!(lock.until, Until::Elapsed(_)) {
            return;
        }
        for (other, theirs) in &self.keyed {
            let waits_or_runs = self.places.get(other) != Some(&Place::Dead);
            let holds = match theirs.until {
                Until::Done => waits_or_runs,
                Until::Start => waits_or_runs && !self.counted.contains_key(other),
                Until::Elapsed(_) => false,
            };
            let holds = holds && theirs.ttl.is_none() && theirs.key == lock.key;
            assert!(*other == id || !holds, "{other} holds the key of {id}");
        }
    }

    fn cancelled(&mut self, id: TaskId, cancelled: Cancelled) {
        let expected = match self.places.get(&id) {
            Some(Place::Active) => Cancelled::Marked,
            None | Some(Place::Gone) => Cancelled::Unknown,
            Some(Place::Ready | Place::Scheduled | Place::Dead) => Cancelled::Removed,
        };
        assert_eq!(cancelled, expected, "{id}");
        match cancelled {
            Cancelled::Removed => self.end(id),
            Cancelled::Marked => {
                self.marked.insert(id);
            }
            Cancelled::Unknown => {}
        }
    }

    fn delivered(&mut self, delivery: &Delivery, now: Millis) {
        let id = delivery.id;
        assert!(self.live.contains(&id), "{id} was delivered and is gone");
        let place = self.places.get(&id);
        assert!(
            matches!(place, Some(Place::Ready | Place::Scheduled)),
            "{id} was delivered and is {place:?}"
        );
        let envelope = Envelope::decode(&delivery.bytes).expect("what was sent can be read");
        let start = match (self.retimed.get(&id), envelope.start) {
            (Some(due), _) => Some(*due),
            (None, Some(When::At(start))) => Some(start),
            (None, _) => None,
        };
        assert!(start <= Some(now), "{id} was delivered before its time");
        let fence = delivery.fence.number;
        assert!(self.last_fence < fence, "{id} has an old fence");
        let counts = (envelope.attempts, delivery.losses, delivery.snoozes);
        if let Some(before) = self.counted.insert(id, counts) {
            assert!(
                before.0 <= counts.0 && before.1 <= counts.1 && before.2 <= counts.2,
                "{id} had {before:?} attempts, losses and snoozes, and has {counts:?}"
            );
        }
    }

    fn settled(&mut self, settlement: &Settlement) {
        let is_done = matches!(settlement.verdict, Verdict::Done { .. });
        if is_done || self.marked.contains(&settlement.id) {
            self.end(settlement.id);
        }
    }

    /// A sequence has fewer tasks than a cut can name.
    fn cut(&mut self, cut: &Cut) {
        assert_eq!(cut.total(), cut.oldest.len() as u64);
        for id in &cut.oldest {
            self.end(*id);
        }
    }

    fn end(&mut self, id: TaskId) {
        self.live.remove(&id);
        self.marked.remove(&id);
        self.counted.remove(&id);
        self.retimed.remove(&id);
        self.keyed.remove(&id);
    }

    fn check(&mut self, look: &Look) {
        let mut counts = lovage_core::Counts::default();
        for (id, place) in &look.places {
            let held = look.holdings.contains_key(id);
            assert_eq!(held, *place == Place::Active, "{id} is {place:?}");
            let is_dead = look.dead.iter().any(|letter| letter.0 == *id);
            assert_eq!(is_dead, *place == Place::Dead, "{id} is {place:?}");
            let is_scheduled = look.scheduled.iter().any(|task| task.0 == *id);
            assert_eq!(
                is_scheduled,
                *place == Place::Scheduled,
                "{id} is {place:?}"
            );
            match place {
                Place::Ready => counts.ready += 1,
                Place::Scheduled => counts.scheduled += 1,
                Place::Active => counts.active += 1,
                Place::Dead => counts.dead += 1,
                // Recovery ends a marked task without a word.
                Place::Gone if self.marked.contains(id) => self.end(*id),
                Place::Gone => {}
            }
            let lives = *place != Place::Gone;
            assert_eq!(lives, self.live.contains(id), "{id} is {place:?}");
            if *place != Place::Active {
                self.marked.remove(id);
            }
        }
        // Entries of cancelled tasks may be counted as ready until they surface.
        assert!(counts.ready <= look.counts.ready, "{look:?}");
        counts.ready = look.counts.ready;
        assert_eq!(counts, look.counts);
        self.places.clone_from(&look.places);
        self.holdings.clone_from(&look.holdings);
    }
}
