//! The broker that is simulated makes each step that the model's broker makes, and is then where that is.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Broker, Cancelled, Claim, Clock, Conflict, Control, Enqueued, Envelope, Fence, Inspect, Lock,
    LockKey, ManualClock, Membership, Millis, Outcome, Place, QueueName, Renewal, Revived,
    Settlement, TaskId, TaskName, Until, Verdict, When, WorkerId, hours, ms,
};

use crate::protocol::{Action, Books, Hand, IDENTITIES, Lease, Rules, Said, State, TASKS};
use crate::search::Model;

const LEASE: Duration = hours(1);
/// Much less than a lease, so that a look ends none.
const PATIENCE: Duration = ms(1);
/// A retry is due when the model says so, and not before.
const LATER: Duration = hours(1_000_000);

/// What the broker does, from where, and the verdict if it is one.
type Step = (Books, Action, Option<(Hand, Said)>);

/// The steps of the broker that a search has found, and one way to each.
#[derive(Default)]
pub(crate) struct Steps {
    known: HashSet<Step>,
    ways: Vec<Vec<Action>>,
}

impl Steps {
    /// Keeps a step of the broker that was not seen before.
    pub(crate) fn see(&mut self, state: &State, action: Action, way: &dyn Fn() -> Vec<Action>) {
        let settled = match action {
            Action::Settle(identity) => state.wires[identity].settle,
            Action::Claim(_) if state.left.claims == 0 => return,
            Action::Register(_)
            | Action::Claim(_)
            | Action::Renew(_)
            | Action::Look
            | Action::Due(_)
            | Action::Send(_)
            | Action::Cancel(_)
            | Action::Revive(_)
            | Action::LeaseEnds(_) => None,
            _ => return,
        };
        if self.known.insert((state.books, action, settled)) {
            let mut way = way();
            way.push(action);
            self.ways.push(way);
        }
    }

    /// Has a broker make each of them, and all before it. Answers how many there are.
    pub(crate) fn make(&self, rules: &Rules) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().expect("a runtime without a driver");
        runtime.block_on(async {
            for way in &self.ways {
                let (mut state, mut broker) = (rules.start(), Real::start(rules.losses).await);
                for (n, action) in way.iter().enumerate() {
                    let next = rules.step(&state, *action).expect("it was searched");
                    let mut made = broker.make(&state, *action).await;
                    if made.is_ok() {
                        made = broker.compare(&next.books).await;
                    }
                    if let Err(text) = made {
                        panic!(
                            "{text}, in the last of {:?}\nby the model: {next:#?}",
                            &way[..=n]
                        );
                    }
                    state = next;
                }
            }
        });
        self.ways.len()
    }
}

/// The broker, and what it has said that the model has other words for.
struct Real {
    broker: MemoryBroker,
    clock: ManualClock,
    queue: QueueName,
    fences: HashMap<Hand, Fence>,
    lease_ends: [Millis; IDENTITIES],
}

impl Real {
    /// With the first task, which so many workers were lost with.
    async fn start(losses: u8) -> Self {
        let clock = ManualClock::default();
        let real = Self {
            broker: MemoryBroker::with_clock(Clock::Manual(clock.clone())),
            clock,
            queue: QueueName::parse("q").expect("it is a name"),
            fences: HashMap::new(),
            lease_ends: [Millis::default(); IDENTITIES],
        };
        assert_eq!(real.send(0).await, Enqueued::New);
        for _ in 0..losses {
            let (broker, queue, lost) = (&real.broker, &real.queue, WorkerId::random());
            let registered = broker.register(lost, queue, PATIENCE).await;
            registered.expect("it is in memory");
            let claimed = broker.claim(lost, queue, NonZeroU16::MIN).await;
            claimed.expect("it is in memory");
            for _ in 0..2 {
                real.clock.advance(PATIENCE);
                let recovered = broker.recover(queue, PATIENCE).await;
                recovered.expect("it is in memory");
            }
        }
        real
    }

    /// Makes a step from `state`; what is the workers' own affair it does not see.
    #[expect(clippy::too_many_lines, reason = "an arm an action: a table")]
    async fn make(&mut self, state: &State, action: Action) -> Result<(), String> {
        let (books, queue) = (&state.books, self.queue.clone());
        match action {
            Action::Register(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let registered = self.broker.register(worker_id(identity), &queue, LEASE);
                registered.await.map_err(|error| error.to_string())?;
                self.lease_ends[identity] = self.clock.now().plus(LEASE);
            }
            Action::Claim(identity) if 0 < state.left.claims => {
                let claim = self
                    .broker
                    .claim(worker_id(identity), &queue, NonZeroU16::MIN);
                let claimed = match claim.await.expect("it is in memory") {
                    Claim::NoLease => None,
                    Claim::Granted(batch) => Some(batch.deliveries),
                };
                same(
                    "a lease",
                    claimed.is_some(),
                    books.leases[identity] == Lease::Live,
                )?;
                let ready = |task: &usize| books.tasks[*task].place == Place::Ready;
                let expected = (0..TASKS).find(ready).filter(|_| claimed.is_some());
                let delivery = claimed.iter().flatten().next();
                same("a claim", delivery.map(|d| d.id), expected.map(task_id))?;
                if let (Some(delivery), Some(task)) = (delivery, expected) {
                    same("losses", delivery.losses, books.tasks[task].losses.into())?;
                    let fence = state.fences + 1;
                    self.fences.insert(Hand { task, fence }, delivery.fence);
                }
            }
            Action::Settle(identity) => {
                let (hand, said) = state.wires[identity].settle.expect("it is on its way");
                let id = task_id(hand.task);
                let settlement = Settlement {
                    id,
                    fence: self.fences[&hand],
                    verdict: verdict(said),
                };
                let settled = self
                    .broker
                    .settle(worker_id(identity), &queue, vec![settlement]);
                let settled = settled.await.expect("it is in memory");
                same(
                    "a stale verdict",
                    !settled.stale.is_empty(),
                    !books.is_held(identity, hand, true),
                )?;
            }
            Action::Renew(identity) => {
                let renewed = self.renew(identity, LEASE).await;
                let is_dead = matches!(books.leases[identity], Lease::Unknown | Lease::Dead);
                same("a renewal", renewed == Renewal::Lost, is_dead)?;
            }
            Action::LeaseEnds(identity) => {
                let left = self.lease_ends[identity].since(self.clock.now());
                for other in (0..IDENTITIES).filter(|other| *other != identity) {
                    if books.leases[other] == Lease::Live {
                        self.renew(other, left + LEASE).await;
                    }
                }
                self.clock.advance(left);
            }
            Action::Look => {
                self.clock.advance(PATIENCE);
                let recovered = self.broker.recover(&queue, PATIENCE).await;
                recovered.map_err(|error| error.to_string())?;
            }
            Action::Due(task) => {
                let due = self
                    .broker
                    .reschedule(&queue, task_id(task), When::In(ms(0)));
                due.await.map_err(|error| error.to_string())?;
            }
            Action::Send(task) => {
                let expected = match books.key {
                    Some(holder) => Enqueued::Existing(task_id(holder)),
                    None => Enqueued::New,
                };
                same("a send", self.send(task).await, expected)?;
            }
            Action::Cancel(task) => {
                let cancelled = self.broker.cancel(&queue, task_id(task)).await;
                let expected = match books.tasks[task].place {
                    Place::Active => Cancelled::Marked,
                    _ => Cancelled::Removed,
                };
                same(
                    "a cancellation",
                    cancelled.expect("it is in memory"),
                    expected,
                )?;
            }
            Action::Revive(task) => {
                let revived = self.broker.revive(&queue, task_id(task)).await;
                let expected = match books.key {
                    Some(holder) => Revived::Held(task_id(holder)),
                    None => Revived::Ready,
                };
                same("a revival", revived.expect("it is in memory"), expected)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether each task is where the model has it.
    async fn compare(&self, books: &Books) -> Result<(), String> {
        let scheduled = self.broker.scheduled(&self.queue, 0, TASKS).await;
        let scheduled = scheduled.expect("it is in memory");
        for (number, task) in books.tasks.iter().enumerate() {
            let id = task_id(number);
            let place = self.broker.state(&self.queue, id).await;
            let is_due = scheduled
                .iter()
                .any(|s| s.id == id && s.due <= self.clock.now());
            let place = match place.expect("it is in memory") {
                Place::Scheduled if is_due => Place::Ready,
                place => place,
            };
            same("a place", place, task.place)?;
            if place == Place::Active {
                let hand = Hand {
                    task: number,
                    fence: task.fence,
                };
                let held = self
                    .broker
                    .holdings(worker_id(task.holder), &self.queue)
                    .await;
                let held = held.expect("it is in memory");
                same("what is held", &held[..], &[(id, self.fences[&hand])])?;
            }
        }
        Ok(())
    }

    async fn renew(&mut self, identity: usize, lease: Duration) -> Renewal {
        let renewed = self.broker.renew(worker_id(identity), &self.queue, lease);
        let renewed = renewed.await.expect("it is in memory");
        if renewed != Renewal::Lost {
            let end = &mut self.lease_ends[identity];
            *end = (*end).max(self.clock.now().plus(lease));
        }
        renewed
    }

    async fn send(&self, task: usize) -> Enqueued {
        let name = TaskName::parse("step").expect("it is a name");
        let args = Bytes::from_static(b"\x80");
        let envelope = Envelope {
            unique: Some(Lock {
                key: LockKey::from_bytes([1; 16]),
                until: Until::Done,
                conflict: Conflict::Reject,
                ttl: None,
            }),
            ..Envelope::new(task_id(task), name, self.queue.clone(), args)
        };
        let encoded = envelope.encode().expect("it is small");
        let answers = self.broker.enqueue(&self.queue, vec![encoded]).await;
        answers.expect("it is in memory")[0]
    }
}

fn verdict(said: Said) -> Verdict {
    match said {
        Said::Done => Verdict::Done {
            outcome: Outcome::Done(Bytes::new()),
            keep: None,
        },
        Said::Retry => Verdict::RetryIn(LATER),
        Said::Release => Verdict::Release,
    }
}

fn task_id(task: usize) -> TaskId {
    TaskId::from_bytes([number(task); 16])
}

fn worker_id(identity: usize) -> WorkerId {
    WorkerId::from_bytes([number(identity); 16])
}

fn number(place: usize) -> u8 {
    u8::try_from(place + 1).expect("there are few")
}

#[expect(clippy::needless_pass_by_value, reason = "small values at many places")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, broker: T, model: T) -> Result<(), String> {
    if broker == model {
        return Ok(());
    }
    Err(format!(
        "{what} is {broker:?} at the broker, and {model:?} in the model"
    ))
}
