//! Random sequences of calls get the same answers about schedules and outgoing tasks from Redis as from the memory
//! broker.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests themselves do"
)]

use std::fmt::Debug;
use std::num::NonZeroU16;

use bytes::Bytes;
use lovage_broker_memory::MemoryBroker;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Amended, Amendment, BeatId, Change, Claim, Clock, Encoded, Envelope, Inspect, Lead,
    ManualClock, Membership, Millis, Outcome, Outgoing, Priority, QueueName, ScheduleName,
    Schedules, Settlement, TaskId, TaskName, Verdict, When, WorkerId, hours, ms, secs,
};
use lovage_test_redis::RedisServer;

const SEQUENCES: u64 = 60;
const STEPS: usize = 120;
const NAMES: [&str; 4] = ["a", "a.b", "b", "c"];
const QUEUES: [&str; 2] = ["mail", "reports"];
const BEATS: [BeatId; 3] = [
    BeatId::from_bytes([1; 16]),
    BeatId::from_bytes([2; 16]),
    BeatId::from_bytes([3; 16]),
];

fn name(number: usize) -> ScheduleName {
    ScheduleName::parse(NAMES[number]).unwrap()
}

fn queue(number: usize) -> QueueName {
    QueueName::parse(QUEUES[number]).unwrap()
}

/// One change, with the version it expects as the position among all that were given for its schedule.
#[derive(Clone, Debug)]
struct Made {
    name: usize,
    expected: Expected,
    removes: bool,
    wake: Option<Millis>,
    sends: Vec<(usize, Encoded)>,
    firings: Vec<Bytes>,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    None,
    Last,
    /// One of all that were, if there is one.
    Any(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Lead(usize, u16),
    Resign(usize),
    Leader,
    /// In the epoch that this beat last had, if one is named.
    Amend(Option<usize>, Vec<Made>),
    Look(Option<usize>, usize),
    Firings(usize, usize),
    Outbox(usize, u16),
    /// So many of the head of a page that was read: the last one, or one of those before.
    Forward(usize, usize),
    /// Up to the number of the task at this position of such a page.
    Forwarded(usize, usize),
    Enqueue(usize, Encoded),
    Run(usize),
}

/// What one broker has answered.
struct Side<B> {
    broker: B,
    worker: WorkerId,
    /// Numbers in the order in which they were seen, of each kind: those of two brokers differ, their order must not.
    numbers_seen: Vec<u64>,
    versions_seen: Vec<u64>,
    epochs_seen: Vec<u64>,
    versions: [Vec<u64>; NAMES.len()],
    epochs: [u64; BEATS.len()],
    pages: Vec<(QueueName, Vec<Outgoing>)>,
}

impl<B: Schedules + Inspect + Membership> Side<B> {
    async fn start(broker: B) -> Self {
        let worker = WorkerId::from_bytes([9; 16]);
        for number in 0..QUEUES.len() {
            let lease = hours(1000);
            broker
                .register(worker, &queue(number), lease)
                .await
                .unwrap();
        }
        Self {
            broker,
            worker,
            numbers_seen: Vec::new(),
            versions_seen: Vec::new(),
            epochs_seen: Vec::new(),
            versions: Default::default(),
            epochs: [u64::MAX; BEATS.len()],
            pages: Vec::new(),
        }
    }

    fn amendment(&self, made: &Made) -> Amendment {
        let versions = &self.versions[made.name];
        let record = Bytes::from(format!("{:?}", made.firings));
        Amendment {
            name: name(made.name),
            expected: match made.expected {
                Expected::None => None,
                Expected::Last => versions.last().copied(),
                Expected::Any(n) => versions.get(n % versions.len().max(1)).copied(),
            },
            change: if made.removes {
                Change::Remove
            } else {
                let wake = made.wake;
                Change::Store { record, wake }
            },
            sends: made
                .sends
                .iter()
                .map(|(to, task)| (queue(*to), task.clone()))
                .collect(),
            firings: made.firings.clone(),
        }
    }

    /// Does it, and tells what came of it in words that do not depend on the broker.
    async fn step(&mut self, step: &Step) -> String {
        match step {
            Step::Advance(_) => String::new(),
            Step::Lead(beat, max) => {
                let max = NonZeroU16::new(*max).unwrap();
                match self.broker.lead(BEATS[*beat], secs(5), max).await.unwrap() {
                    Lead::Held(mut tick) => {
                        self.epochs[*beat] = tick.epoch;
                        let epoch = position(&mut self.epochs_seen, tick.epoch);
                        tick.epoch = 0;
                        for due in &mut tick.due {
                            due.version = position(&mut self.versions_seen, due.version);
                        }
                        told((epoch, tick))
                    }
                    Lead::Standby(leader) => {
                        let epoch = position(&mut self.epochs_seen, leader.epoch);
                        told((epoch, leader.beat, leader.ends_in))
                    }
                }
            }
            Step::Resign(beat) => {
                self.broker.resign(BEATS[*beat]).await.unwrap();
                String::new()
            }
            Step::Leader => {
                let leader = self.broker.leader().await.unwrap();
                let epoch = leader.map(|leader| position(&mut self.epochs_seen, leader.epoch));
                told((epoch, leader.map(|leader| (leader.beat, leader.ends_in))))
            }
            Step::Amend(beat, all) => {
                let epoch = beat.map(|beat| self.epochs[beat]);
                let amendments = all.iter().map(|made| self.amendment(made)).collect();
                let mut answers = self.broker.amend(epoch, amendments).await.unwrap();
                for (answer, made) in answers.iter_mut().zip(all) {
                    if let Amended::Done(version) = answer {
                        self.versions[made.name].push(*version);
                        *version = position(&mut self.versions_seen, *version);
                    }
                }
                told(answers)
            }
            Step::Look(after, limit) => {
                let after = after.map(name);
                let page = self.broker.schedules(after.as_ref(), *limit).await.unwrap();
                let mut found = page.found;
                for stored in &mut found {
                    let alone = self.broker.schedule(&stored.name).await.unwrap().found;
                    assert_eq!(alone.as_ref(), Some(&*stored));
                    stored.version = position(&mut self.versions_seen, stored.version);
                }
                told((page.now, found))
            }
            Step::Firings(of, limit) => {
                told(self.broker.firings(&name(*of), *limit).await.unwrap())
            }
            Step::Outbox(to, max) => {
                let max = NonZeroU16::new(*max).unwrap();
                let page = self.broker.outbox(&queue(*to), max).await.unwrap();
                self.pages.push((queue(*to), page.clone()));
                let all = page.into_iter();
                told(
                    all.map(|task| {
                        (
                            position(&mut self.numbers_seen, task.number),
                            task.id,
                            task.bytes,
                        )
                    })
                    .collect::<Vec<_>>(),
                )
            }
            Step::Forward(page, count) => {
                let Some((queue, page)) = nth_last(&self.pages, *page) else {
                    return String::new();
                };
                let part = page[..*count.min(&page.len())].to_vec();
                told(self.broker.forward(queue, part).await.unwrap())
            }
            Step::Forwarded(page, position) => {
                let Some((queue, page)) = nth_last(&self.pages, *page) else {
                    return String::new();
                };
                let Some(task) = page.get(position % page.len().max(1)) else {
                    return String::new();
                };
                told(self.broker.forwarded(queue, task.number).await.unwrap())
            }
            Step::Enqueue(to, task) => {
                let tasks = vec![task.clone()];
                told(self.broker.enqueue(&queue(*to), tasks).await.unwrap())
            }
            Step::Run(of) => self.run(&queue(*of)).await,
        }
    }

    async fn run(&self, queue: &QueueName) -> String {
        let max = NonZeroU16::new(1000).unwrap();
        let Claim::Granted(batch) = self.broker.claim(self.worker, queue, max).await.unwrap()
        else {
            panic!("the lease is long");
        };
        let ran: Vec<_> = batch.deliveries.iter().map(|held| held.id).collect();
        let verdicts = batch.deliveries.iter().map(|held| Settlement {
            id: held.id,
            fence: held.fence,
            verdict: Verdict::Done {
                outcome: Outcome::Done(Bytes::new()),
                keep: None,
            },
        });
        let verdicts = verdicts.collect();
        self.broker
            .settle(self.worker, queue, verdicts)
            .await
            .unwrap();
        told((ran, self.broker.counts(queue).await.unwrap()))
    }
}

fn told(what: impl Debug) -> String {
    format!("{what:?}")
}

fn position(seen: &mut Vec<u64>, number: u64) -> u64 {
    let found = seen.iter().position(|other| *other == number);
    let position = found.unwrap_or_else(|| {
        seen.push(number);
        seen.len() - 1
    });
    position.try_into().unwrap()
}

fn nth_last<T>(all: &[T], n: usize) -> Option<&T> {
    all.len().checked_sub(n + 1).map(|at| &all[at])
}

/// Makes up what happens next.
struct Chance {
    random: fastrand::Rng,
}

impl Chance {
    fn step(&mut self, now: Millis) -> Step {
        let to = self.random.usize(..QUEUES.len());
        match self.random.u8(..20) {
            0 | 1 => Step::Advance(self.random.u64(..3000)),
            2 | 3 => Step::Lead(self.random.usize(..BEATS.len()), self.random.u16(1..5)),
            4 => Step::Resign(self.random.usize(..BEATS.len())),
            5 => Step::Leader,
            6..=10 => {
                let beat = self.random.bool().then(|| self.random.usize(..BEATS.len()));
                let count = self.random.usize(..4);
                Step::Amend(beat, (0..count).map(|_| self.made(now)).collect())
            }
            11 => {
                let after = self.random.bool().then(|| self.random.usize(..NAMES.len()));
                Step::Look(after, self.random.usize(..5))
            }
            12 => Step::Firings(self.random.usize(..NAMES.len()), self.random.usize(..200)),
            13 | 14 => Step::Outbox(to, self.random.u16(1..5)),
            15 | 16 => Step::Forward(self.few(), self.random.usize(..5)),
            17 => Step::Forwarded(self.few(), self.random.usize(..5)),
            18 => {
                let task = self.task(now);
                Step::Enqueue(to, task)
            }
            _ => Step::Run(to),
        }
    }

    /// Mostly nothing.
    fn few(&mut self) -> usize {
        self.random.usize(..6).saturating_sub(3)
    }

    fn made(&mut self, now: Millis) -> Made {
        let sends = self.few();
        let firings = if self.random.u8(..20) == 0 {
            120
        } else {
            self.few()
        };
        Made {
            name: self.random.usize(..NAMES.len()),
            expected: match self.random.u8(..8) {
                0 | 1 => Expected::None,
                2 => Expected::Any(self.random.usize(..9)),
                _ => Expected::Last,
            },
            removes: self.random.u8(..4) == 0,
            wake: self.random.bool().then(|| self.near(now)),
            sends: (0..sends)
                .map(|_| (self.random.usize(..QUEUES.len()), self.task(now)))
                .collect(),
            firings: (0..firings)
                .map(|_| Bytes::from(self.random.u64(..).to_string()))
                .collect(),
        }
    }

    fn near(&mut self, now: Millis) -> Millis {
        Millis::new(now.get() + self.random.u64(..5000) - 2000)
    }

    /// One of few ids: many live already, or have lived.
    fn task(&mut self, now: Millis) -> Encoded {
        let task = TaskName::parse("tick").unwrap();
        let args = Bytes::from_static(b"\x80");
        let id = TaskId::from_bytes([self.random.u8(..24); 16]);
        Envelope {
            priority: Priority::new(self.random.u8(..10)),
            start: match self.random.u8(..4) {
                0 => Some(When::At(self.near(now))),
                1 => Some(When::In(ms(self.random.u64(..2000)))),
                _ => None,
            },
            ..Envelope::new(id, task, queue(0), args)
        }
        .encode()
        .unwrap()
    }
}

#[tokio::test]
async fn random_sequences_get_the_same_answers_from_both_brokers() {
    let server = RedisServer::start().await;
    for seed in 0..SEQUENCES {
        server.cli::<()>(&["FLUSHALL"]).await.unwrap();
        let clock = ManualClock::default();
        let config = RedisConfig::new(server.url()).clock(Clock::Manual(clock.clone()));
        let redis = RedisBroker::connect(&config).await.unwrap();
        let memory = MemoryBroker::with_clock(Clock::Manual(clock.clone()));
        let mut redis = Side::start(redis).await;
        let mut memory = Side::start(memory).await;
        let mut chance = Chance {
            random: fastrand::Rng::with_seed(seed),
        };
        let mut past = Vec::new();
        for _ in 0..STEPS {
            let step = chance.step(clock.now());
            if let Step::Advance(span) = step {
                clock.advance(ms(span));
            }
            past.push(told(&step));
            let (expected, found) = (memory.step(&step).await, redis.step(&step).await);
            assert_eq!(
                found,
                expected,
                "with seed {seed}, after {:#?}",
                &past[past.len().saturating_sub(40)..]
            );
        }
    }
}
