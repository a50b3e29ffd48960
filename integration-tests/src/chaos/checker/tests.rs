//! A bad history for each law, and a good one for each excuse: a checker that misses one proves nothing.

mod excuses;
mod violations;

use std::collections::HashMap;

use lovage_core::{FailureKind, Millis, TaskId, ms};

use super::deaths::Death;
use super::facts::Facts;
use super::findings::Findings;
use super::runs::Runs;
use crate::chaos::ledger::{Answer, Kind, Sent};
use crate::chaos::windows::{What, Window};
use crate::journal::{Entry, Event, Taken};

/// When the task is sent.
const T0: u64 = 1_000_000;
const WORKER: u32 = 100;
const OTHER: u32 = 200;

fn id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn at(after_ms: u64) -> Millis {
    Millis::new(T0 + after_ms)
}

/// A history that is being told. Instants are in ms since the first send.
#[derive(Debug)]
struct Story {
    entries: Vec<Entry>,
    facts: Facts,
    /// The run that is told.
    now: Entry,
}

/// Told of task 1, sent as this kind, accepted within 5 ms.
fn story(kind: Kind) -> Story {
    let story = Story {
        entries: Vec::new(),
        facts: Facts {
            ledger: HashMap::new(),
            windows: Vec::new(),
            dead: HashMap::new(),
            lease: ms(1500),
            checked_at: at(600_000),
        },
        now: Entry {
            event: Event::Start,
            id: id(1),
            attempt: 1,
            fence: 0,
            losses: 0,
            snoozes: 0,
            pid: WORKER,
            worker: WORKER,
            at: at(0),
            parent: None,
        },
    };
    // One that is as it should be, beside it.
    story
        .sent(99, Kind::Quick, Answer::Accepted, 0..5)
        .run(99, WORKER, 1)
        .ends(2)
        .is(Taken::Done, 3)
        .sent(1, kind, Answer::Accepted, 0..5)
}

impl Story {
    fn sent(mut self, number: u8, kind: Kind, answer: Answer, span: std::ops::Range<u64>) -> Self {
        let sent = Sent {
            kind,
            began: at(span.start),
            answered: at(span.end),
            answer,
            not_before: at(span.start),
            made: u32::from(answer == Answer::Accepted),
        };
        self.facts.ledger.insert(id(number), sent);
        self
    }

    /// The next handing-out of a task, whose body begins.
    fn run(mut self, number: u8, worker: u32, at_ms: u64) -> Self {
        let fence = self.now.fence + 1;
        self.now = Entry {
            event: Event::Start,
            id: id(number),
            attempt: 1,
            fence,
            losses: 0,
            snoozes: 0,
            pid: worker,
            worker,
            at: at(at_ms),
            parent: None,
        };
        self.entries.push(self.now);
        self
    }

    /// Changes the start of the present run.
    fn with(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        let start = self.entries.last_mut().expect("a run has begun");
        change(start);
        self.now = *start;
        self
    }

    fn losses(self, losses: u32) -> Self {
        self.with(|start| start.losses = losses)
    }

    fn attempt(self, attempt: u32) -> Self {
        self.with(|start| start.attempt = attempt)
    }

    fn event(mut self, event: Event, at_ms: u64) -> Self {
        self.entries.push(Entry {
            event,
            at: at(at_ms),
            ..self.now
        });
        self
    }

    fn ends(self, at_ms: u64) -> Self {
        self.event(Event::End, at_ms)
    }

    fn fails(self, at_ms: u64) -> Self {
        self.event(Event::Failed, at_ms)
    }

    fn is(self, taken: Taken, at_ms: u64) -> Self {
        self.event(Event::Ack(taken), at_ms)
    }

    /// A run that ends as it should.
    fn good(self, number: u8, worker: u32, at_ms: u64) -> Self {
        let run = self.run(number, worker, at_ms);
        run.ends(at_ms + 1).is(Taken::Done, at_ms + 2)
    }

    fn fault(mut self, what: What, span: std::ops::Range<u64>, pids: Option<&[u32]>) -> Self {
        self.facts.windows.push(Window {
            what,
            from: at(span.start),
            to: at(span.end),
            pids: pids.map(<[u32]>::to_vec),
        });
        self
    }

    fn dies(mut self, number: u8, kind: FailureKind, at_ms: u64) -> Self {
        let death = Death {
            kind,
            at: at(at_ms),
            losses: self.now.losses,
            claimed_at: Some(self.now.at),
            worker: Some(self.now.worker),
            parent: self.now.parent,
        };
        self.facts.dead.insert(id(number), death);
        self
    }

    /// Changes the start of the last run.
    fn losses_of_last(mut self, losses: u32) -> Self {
        let mut starts = self.entries.iter_mut().rev();
        let start = starts.find(|entry| entry.event == Event::Start);
        start.expect("a run has begun").losses = losses;
        self.now.losses = losses;
        self
    }

    fn losses_of_death(mut self, losses: u32) -> Self {
        let death = self.facts.dead.get_mut(&id(1));
        death.expect("it is dead").losses = losses;
        self
    }

    fn check(&self) -> anyhow::Result<Findings> {
        let runs = Runs::read(|take| self.entries.iter().for_each(|entry| take(*entry)));
        super::check_runs(&runs, &self.facts)
    }
}

const HERE: Option<&[u32]> = Some(&[WORKER]);
const ELSEWHERE: Option<&[u32]> = Some(&[OTHER]);

/// Begins, and its worker says nothing more of it.
fn unheard(kind: Kind) -> Story {
    story(kind).run(1, WORKER, 10).ends(20)
}

/// Begins and is done, and runs once more at 5 s.
fn done_twice(kind: Kind) -> Story {
    let first = unheard(kind).is(Taken::Done, 30);
    first.good(1, OTHER, 5_000)
}

/// Killed at 15 ms, before the body was over.
fn killed(kind: Kind) -> Story {
    let first = story(kind).run(1, WORKER, 10);
    first.fault(What::Kill, 15..15, HERE)
}

/// An at-most-once task whose worker was cut off while it was handed over, and that never began.
fn unheard_claim() -> Story {
    let cut = story(Kind::Once).fault(What::Cut, 10..40, HERE);
    let mut story = cut.dies(1, FailureKind::Abandoned, 3_500);
    let death = story.facts.dead.get_mut(&id(1)).expect("it is dead");
    death.claimed_at = Some(at(30));
    story
}

/// A `Doomed` that is dead as it should be.
fn doomed() -> Story {
    let run = story(Kind::Doomed).run(1, WORKER, 10).fails(20);
    run.is(Taken::Bury, 30).dies(1, FailureKind::Error, 25)
}

fn called_back(story: Story, by: u8, at_ms: u64) -> Story {
    let start = story.run(by, OTHER, at_ms);
    let start = start.with(|start| start.parent = Some(id(1)));
    start.ends(at_ms + 1).is(Taken::Done, at_ms + 2)
}

/// One task of key 7 runs from 10 to 500 ms.
fn holder() -> Story {
    story(Kind::Unique(7)).run(1, WORKER, 10).ends(500)
}

fn beside(story: Story, number: u8) -> Story {
    story.sent(number, Kind::Unique(7), Answer::Accepted, 0..5)
}

#[test]
fn each_violation_is_seen() {
    for (complaint, what, story) in violations::all() {
        let text = match story.check() {
            Ok(findings) => panic!("{what}: not seen; {findings:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(complaint), "{what}: {text}");
    }
}

#[test]
fn each_excuse_is_taken() {
    for (reason, what, story) in excuses::all() {
        match story.check() {
            Ok(findings) => {
                let seen: Vec<_> = findings.repeated.keys().copied().collect();
                assert_eq!(seen, Vec::from_iter(reason), "{what}");
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

#[test]
fn a_process_id_that_comes_round_again_is_another_worker() {
    let killed = killed(Kind::Nap).good(1, OTHER, 2_000).losses_of_last(1);
    let stopped = killed
        .sent(2, Kind::Long, Answer::Accepted, 299_000..299_005)
        .run(2, WORKER, 300_000)
        .fault(What::Stop, 300_005..300_040, HERE)
        .is(Taken::Release, 300_035)
        .good(2, OTHER, 300_050);
    let findings = stopped.check().unwrap();
    assert_eq!(findings.recovered_after_ms, [1_985]);
}
