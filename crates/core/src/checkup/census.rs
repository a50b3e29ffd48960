//! All that a queue holds of one task, and what is to be made of it.

use super::FindingKind;
use crate::ids::{TaskId, WorkerId};

/// All that a queue holds of one task at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "places and notes that are there or not, in any combination"
)]
pub struct Census {
    /// The task.
    pub id: TaskId,
    /// Whether its envelope is there.
    pub stored: bool,
    /// Whether it waits for its time.
    pub scheduled: bool,
    /// Whether it is a dead letter.
    pub dead: bool,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// Its entries in ready lists.
    pub ready: ReadyEntries,
    /// Whether losses and the like are noted.
    pub facts: bool,
    /// Whether a failure record is there.
    pub reason: bool,
    /// Whether somebody waits for its outcome.
    pub waiting: bool,
    /// Whether it is marked as cancelled.
    pub cancelled: bool,
    /// Whether a key is noted that it holds, or held.
    pub lock: bool,
    /// Whether its callback is owed.
    pub owed: bool,
}

/// A worker that holds a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub worker: WorkerId,
    /// The number of the claim; 0 if it cannot be read.
    pub claim: u64,
}

/// The entries of a task in ready lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyEntries {
    /// Nobody has looked.
    NotSought,
    /// The lists are too long to go through.
    TooLong,
    /// The levels that have some, or a count of those that stand for nothing.
    Found(Vec<ReadyLevel>),
}

/// The entries of a task in one ready list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyLevel {
    /// The priority.
    pub level: u8,
    /// How many there are.
    pub entries: u64,
    /// How many of them stand for nothing, by the queue's account.
    pub ghosts: u64,
}

/// One change that repairs a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It becomes ready, behind the others of its priority. One that may run at most once becomes a dead letter: it may
    /// have begun.
    MakeReady,
    /// It no longer waits for its time.
    Unschedule,
    /// It is no dead letter any more; its failure record goes with it.
    Unbury,
    /// This worker no longer holds it.
    TakeFrom(WorkerId),
    /// So many of its entries at this level go, those at the tail first.
    DropEntries(u8, u64),
    /// So many of its entries at this level stand for nothing.
    SetGhosts(u8, u64),
    /// No losses and the like are noted.
    DropFacts,
    /// There is no failure record.
    DropReason,
    /// Nobody waits for its outcome.
    DropWaiting,
    /// It is not marked as cancelled.
    DropCancel,
    /// No key is noted.
    DropLock,
    /// No callback is owed.
    DropCallback,
}

/// What is to be made of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// All is well with it.
    Sound,
    /// The ready lists decide, and were not gone through.
    Unsure,
    /// What is wrong, and what repairs it.
    Faulty(Vec<(FindingKind, Repair)>),
}

impl Census {
    /// Decides. A task in several places stays in the one where nothing is started that runs already and nothing is
    /// lost that somebody still wants: active before scheduled, before ready, before dead.
    pub fn diagnose(&self) -> Diagnosis {
        let ReadyEntries::Found(levels) = &self.ready else {
            return Diagnosis::Unsure;
        };
        let mut wrong = Vec::new();
        let kept = if self.stored { self.home(levels) } else { None };
        let twice = if self.stored {
            FindingKind::InTwoPlaces
        } else {
            FindingKind::NoEnvelope
        };
        for holder in &self.holders {
            if kept != Some(Home::Active(holder.worker)) {
                wrong.push((twice, Repair::TakeFrom(holder.worker)));
            }
        }
        if self.scheduled && kept != Some(Home::Scheduled) {
            wrong.push((twice, Repair::Unschedule));
        }
        for level in levels {
            let live = level.entries.saturating_sub(level.ghosts);
            let stay = u64::from(kept == Some(Home::Ready(level.level)));
            if stay < live {
                wrong.push((twice, Repair::DropEntries(level.level, live - stay)));
            }
            if level.entries < level.ghosts {
                let repair = Repair::SetGhosts(level.level, level.entries);
                wrong.push((FindingKind::StrayNote, repair));
            }
        }
        if self.dead && kept != Some(Home::Dead) {
            wrong.push((twice, Repair::Unbury));
        }
        let notes = [
            (self.facts && !self.stored, Repair::DropFacts),
            (self.reason && !self.dead, Repair::DropReason),
            (self.waiting && !self.stored, Repair::DropWaiting),
            (
                self.cancelled && (self.holders.is_empty() || !self.stored),
                Repair::DropCancel,
            ),
            (self.lock && !self.stored, Repair::DropLock),
            (self.owed && !self.dead, Repair::DropCallback),
        ];
        wrong.extend(
            notes
                .into_iter()
                .filter_map(|(stray, repair)| stray.then_some((FindingKind::StrayNote, repair))),
        );
        // Last: what becomes a dead letter has a failure record and a callback of its own.
        if self.stored && kept.is_none() {
            wrong.push((FindingKind::InNoPlace, Repair::MakeReady));
        }
        if wrong.is_empty() {
            Diagnosis::Sound
        } else {
            Diagnosis::Faulty(wrong)
        }
    }

    /// Whether all is well if it has so many entries in ready lists that stand for it. A hint where they were seen at
    /// another instant: who doubts it seeks.
    pub fn would_be_sound(&self, ready: u64) -> bool {
        let entries = if ready == 0 {
            Vec::new()
        } else {
            vec![ReadyLevel {
                level: 0,
                entries: ready,
                ghosts: 0,
            }]
        };
        let seen = Self {
            ready: ReadyEntries::Found(entries),
            ..self.clone()
        };
        seen.diagnose() == Diagnosis::Sound
    }

    fn home(&self, levels: &[ReadyLevel]) -> Option<Home> {
        let newest = self.holders.iter().max_by_key(|holder| holder.claim);
        if let Some(newest) = newest {
            return Some(Home::Active(newest.worker));
        }
        if self.scheduled {
            return Some(Home::Scheduled);
        }
        let live = levels
            .iter()
            .filter(|level| level.ghosts < level.entries)
            .map(|level| level.level);
        if let Some(highest) = live.max() {
            return Some(Home::Ready(highest));
        }
        self.dead.then_some(Home::Dead)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Active(WorkerId),
    Scheduled,
    Ready(u8),
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(entries: u64, ghosts: u64) -> Census {
        Census {
            id: TaskId::from_bytes([1; 16]),
            stored: true,
            scheduled: false,
            dead: false,
            holders: Vec::new(),
            ready: ReadyEntries::Found(vec![ReadyLevel {
                level: 5,
                entries,
                ghosts,
            }]),
            facts: false,
            reason: false,
            waiting: false,
            cancelled: false,
            lock: false,
            owed: false,
        }
    }

    fn repairs(census: &Census) -> Vec<Repair> {
        match census.diagnose() {
            Diagnosis::Faulty(wrong) => wrong.into_iter().map(|(_, repair)| repair).collect(),
            Diagnosis::Sound => Vec::new(),
            Diagnosis::Unsure => panic!("it was sought"),
        }
    }

    #[test]
    fn a_task_with_one_entry_that_stands_for_it_is_sound() {
        assert_eq!(ready(1, 0).diagnose(), Diagnosis::Sound);
        // Cancelled, and sent again.
        assert_eq!(ready(3, 2).diagnose(), Diagnosis::Sound);
        let cancelled = Census {
            stored: false,
            ..ready(2, 2)
        };
        assert_eq!(cancelled.diagnose(), Diagnosis::Sound);
    }

    #[test]
    fn a_running_task_stays_with_its_newest_claim_alone() {
        let [old, new] = [1, 2].map(|byte| WorkerId::from_bytes([byte; 16]));
        let held = Census {
            holders: vec![
                Holder {
                    worker: new,
                    claim: 9,
                },
                Holder {
                    worker: old,
                    claim: 7,
                },
            ],
            scheduled: true,
            dead: true,
            reason: true,
            ..ready(1, 0)
        };
        let expected = [
            Repair::TakeFrom(old),
            Repair::Unschedule,
            Repair::DropEntries(5, 1),
            Repair::Unbury,
        ];
        assert_eq!(repairs(&held), expected);
    }

    #[test]
    fn a_task_in_no_place_becomes_ready() {
        assert_eq!(repairs(&ready(1, 1)), [Repair::MakeReady]);
        assert_eq!(
            repairs(&ready(0, 1)),
            [Repair::SetGhosts(5, 0), Repair::MakeReady]
        );
    }

    #[test]
    fn what_is_noted_of_a_task_goes_with_it() {
        let gone = Census {
            stored: false,
            lock: true,
            owed: true,
            ..ready(0, 0)
        };
        assert_eq!(repairs(&gone), [Repair::DropLock, Repair::DropCallback]);
        // Only the dead are called back.
        let alive = Census {
            stored: true,
            ..gone.clone()
        };
        assert!(repairs(&alive).contains(&Repair::DropCallback));
        let dead = Census {
            dead: true,
            ..alive
        };
        assert_eq!(dead.diagnose(), Diagnosis::Sound);
    }

    #[test]
    fn nothing_is_decided_by_lists_that_nobody_went_through() {
        let census = Census {
            ready: ReadyEntries::TooLong,
            ..ready(0, 0)
        };
        assert_eq!(census.diagnose(), Diagnosis::Unsure);
    }
}
