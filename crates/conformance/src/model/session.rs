//! Plays commands on one broker.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use lovage_core::{
    Ack, Awaited, Cancelled, Claim, Counts, DeadLetter, Delivery, Edit, EnqueueError, Enqueued,
    Envelope, Failure, FailureKind, Fence, Lock, Loss, ManualClock, Millis, Outcome, Place,
    Priority, Progress, Purged, QueueName, Recovered, Renewal, Rescheduled, Revived, RunningTask,
    Settled, Settlement, TaskId, TaskName, Verdict, When, WorkerId, WorkerReport, hours, secs,
};

use super::command::{Command, IDS, Pick, Retiming, SLOTS, Sent, Verdicts, Who};
use crate::harness::WholeBroker;
use crate::world::{LEASE, PATIENCE, payload};

/// One broker, and what its workers believe.
pub struct Session<B> {
    broker: B,
    queue: QueueName,
    slots: Vec<Slot>,
    identities: u8,
    past: Vec<Delivery>,
}

#[derive(Clone)]
struct Slot {
    present: WorkerId,
    former: WorkerId,
    held: Vec<Delivery>,
}

/// What a broker said, in a form that does not depend on which broker it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of each task, whether it was new; or why none was taken.
    Enqueued(Result<Vec<Enqueued>, String>),
    /// What a claim brought.
    Claimed(Claim),
    /// Whose settlements were sent, which they were, and what was said of them; the stale ones by their ids.
    Settled(WorkerId, Vec<Settlement>, Settled),
    /// What a renewal said; cancelled tasks by their ids.
    Renewed(Renewal),
    /// Whether a report was kept.
    Reported(bool),
    /// What recovery did.
    Recovered(Recovered),
    /// What a cancellation did.
    Cancelled(Cancelled),
    /// Which task was to be revived, and what came of it.
    Revived(TaskId, Revived),
    /// Which dead letters were purged.
    Purged(Vec<TaskId>),
    /// How many were.
    PurgedOlder(Purged),
    /// Which task was to be due at another time, and what came of it.
    Rescheduled(TaskId, Rescheduled),
    /// Whether an identity was retired.
    Retired(bool),
    /// The outcome: the words of its failures depend on the broker, the kinds do not.
    Outcome(String),
    /// Nothing was asked.
    Nothing,
}

/// All that can be seen of a queue from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Where each task of the sequence is.
    pub places: BTreeMap<TaskId, Place>,
    /// What each identity of the sequence holds.
    pub holdings: BTreeMap<TaskId, (WorkerId, Fence)>,
    /// The scheduled tasks in their order, with their times.
    pub scheduled: Vec<(TaskId, Millis)>,
    /// The dead letters in their order, with the kinds of their failures.
    pub dead: Vec<(TaskId, Millis, FailureKind, bytes::Bytes)>,
    /// How many tasks are in each place.
    pub counts: Counts,
    /// How many dead letters retention has cut.
    pub cut: u64,
    /// What was lost with its worker, newest first.
    pub losses: Vec<Loss>,
}

impl Look {
    /// Whether another broker's queue looks the same. What is counted as ready may differ by the entries of cancelled
    /// tasks that have not surfaced.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let counts = Counts {
            ready: other.counts.ready,
            ..self.counts
        };
        let same_ready = Self {
            counts,
            ..self.clone()
        };
        same_ready == *other
    }
}

impl<B: WholeBroker> Session<B> {
    /// An empty queue, with a registered worker in each slot.
    pub async fn start(broker: B, queue: QueueName) -> Self {
        let mut session = Self {
            broker,
            queue,
            slots: Vec::new(),
            identities: 0,
            past: Vec::new(),
        };
        for _ in 0..SLOTS {
            let present = session.identity().await;
            session.slots.push(Slot {
                present,
                former: present,
                held: Vec::new(),
            });
        }
        session
    }

    /// Plays one step. What it cannot do by its nature, such as the passing of time, it does not.
    pub async fn play(&mut self, command: &Command) -> Answer {
        match command {
            Command::Enqueue(tasks) => self.enqueue(tasks).await,
            Command::Claim { who, max } => self.claim(*who, *max).await,
            Command::Settle { who, picks } => self.settle(*who, picks).await,
            Command::Renew(who) => self.renew(*who).await,
            Command::Report(who, n) => self.report(*who, *n).await,
            Command::Recover => {
                let answer = self.broker.recover(&self.queue, PATIENCE).await;
                Answer::Recovered(answer.expect("recovery is answered"))
            }
            Command::Cancel(n) => {
                let answer = self.broker.cancel(&self.queue, task_id(*n)).await;
                Answer::Cancelled(answer.expect("a cancellation is answered"))
            }
            Command::Revive(n) => self.revive(*n).await,
            Command::ReviveEdited(n, span, lock) => self.revive_edited(*n, *span, *lock).await,
            Command::Purge(n) => self.purge(*n).await,
            Command::PurgeOlder(n) => {
                let age = secs((*n).into());
                let answer = self.broker.purge_older(&self.queue, age).await;
                Answer::PurgedOlder(answer.expect("a purge is answered"))
            }
            Command::Retain(retention) => {
                let answer = self.broker.retain(&self.queue, *retention).await;
                answer.expect("a retention is set");
                Answer::Nothing
            }
            Command::Reschedule(n, retiming) => self.reschedule(*n, *retiming).await,
            Command::Retire(who) => {
                let answer = self.broker.retire(self.worker(*who), &self.queue).await;
                let retired = answer.expect("retiring is answered");
                if retired && !who.former {
                    self.renew_identity(who.slot).await;
                }
                Answer::Retired(retired)
            }
            Command::Crash(slot) => {
                self.renew_identity(*slot).await;
                Answer::Nothing
            }
            Command::Bound(bound) => {
                let answer = self.broker.bound(&self.queue, *bound).await;
                answer.expect("a bound is set");
                Answer::Nothing
            }
            Command::Outcome(n) => self.outcome(task_id(*n)).await,
            Command::Advance(_) | Command::LoseAll => Answer::Nothing,
        }
    }

    /// Looks at everything.
    pub async fn look(&self) -> Look {
        let mut places = BTreeMap::new();
        for n in 0..IDS {
            let place = self.broker.state(&self.queue, task_id(n)).await;
            places.insert(task_id(n), place.expect("looking is answered"));
        }
        let mut holdings = BTreeMap::new();
        for n in 1..=self.identities {
            let worker = worker_id(n);
            let held = self.broker.holdings(worker, &self.queue).await;
            for (id, fence) in held.expect("looking is answered") {
                let twice = holdings.insert(id, (worker, fence));
                assert_eq!(twice, None, "{id} is held twice");
            }
        }
        let scheduled = self.broker.scheduled(&self.queue, 0, 100).await;
        let dead = self.broker.dead_letters(&self.queue, 0, 100).await;
        let dead = dead.expect("looking is answered");
        let counts = self.broker.counts(&self.queue).await;
        let summary = self.broker.dead_letters_summary(&self.queue).await;
        let losses = self.broker.losses(&self.queue, 0, 100).await;
        let summary = summary.expect("looking is answered");
        let bytes: u64 = dead.iter().map(|letter| letter.size).sum();
        assert_eq!(
            summary.bytes, bytes,
            "the account of bytes is wrong: {dead:?}"
        );
        Look {
            places,
            holdings,
            scheduled: scheduled
                .expect("looking is answered")
                .iter()
                .map(|task| (task.id, task.due))
                .collect(),
            dead: dead.into_iter().map(row).collect(),
            counts: counts.expect("looking is answered"),
            cut: summary.cut,
            losses: losses.expect("looking is answered"),
        }
    }

    async fn enqueue(&self, tasks: &[Sent]) -> Answer {
        let encoded = tasks.iter().map(|task| {
            let name = TaskName::parse("play").expect("it is a name");
            let envelope = Envelope {
                priority: Priority::new(task.priority),
                ack: if task.early { Ack::Early } else { Ack::Late },
                start: task.countdown.map(When::In),
                unique: task.unique,
                remembered: task.remembered,
                ..Envelope::new(task_id(task.id), name, self.queue.clone(), payload(b"\xc0"))
            };
            envelope.encode().expect("a small envelope encodes")
        });
        Answer::Enqueued(
            match self.broker.enqueue(&self.queue, encoded.collect()).await {
                Ok(answers) => Ok(answers),
                Err(error @ EnqueueError::QueueFull { .. }) => Err(error.to_string()),
                Err(error) => panic!("the broker must answer: {error}"),
            },
        )
    }

    async fn claim(&mut self, who: Who, max: u16) -> Answer {
        let max = NonZeroU16::new(max).expect("it is drawn from 1 on");
        let answer = self.broker.claim(self.worker(who), &self.queue, max).await;
        let claim = answer.expect("a claim is answered");
        if let Claim::Granted(batch) = &claim {
            self.past.extend(batch.deliveries.iter().cloned());
            let slot = &mut self.slots[usize::from(who.slot)];
            slot.held.extend(batch.deliveries.iter().cloned());
        }
        Answer::Claimed(claim)
    }

    async fn settle(&mut self, who: Who, picks: &[(Pick, Verdicts)]) -> Answer {
        let who = self.somebody_who_holds(who);
        let worker = self.worker(who);
        let slot = usize::from(who.slot);
        let mut held = std::mem::take(&mut self.slots[slot].held);
        let settlements: Vec<Settlement> = picks
            .iter()
            .filter_map(|(pick, verdict)| {
                let (id, fence) = self.picked(&mut held, *pick)?;
                let verdict = verdict_of(*verdict, fence);
                Some(Settlement { id, fence, verdict })
            })
            .collect();
        self.slots[slot].held = held;
        let answer = self
            .broker
            .settle(worker, &self.queue, settlements.clone())
            .await;
        let mut settled = answer.expect("a settlement is answered");
        settled.stale.sort_unstable();
        Answer::Settled(worker, settlements, settled)
    }

    /// A worker settles once what it holds; a second verdict comes from `Pick::Past`.
    fn picked(&self, held: &mut Vec<Delivery>, pick: Pick) -> Option<(TaskId, Fence)> {
        match pick {
            Pick::Held(n) => {
                let delivery = held.remove(nth(held, n)?);
                Some((delivery.id, delivery.fence))
            }
            Pick::Past(n) => {
                let delivery = &self.past[nth(&self.past, n)?];
                Some((delivery.id, delivery.fence))
            }
            Pick::Forged(n) => {
                let Delivery { id, fence, .. } = held[nth(held, n)?];
                let number = fence.number + 1;
                Some((id, Fence { number, ..fence }))
            }
        }
    }

    async fn renew(&mut self, who: Who) -> Answer {
        let answer = self
            .broker
            .renew(self.worker(who), &self.queue, LEASE)
            .await;
        let mut renewal = answer.expect("a renewal is answered");
        match &mut renewal {
            Renewal::Held { cancelled } => cancelled.sort_unstable(),
            Renewal::Lost if !who.former => self.renew_identity(who.slot).await,
            Renewal::Lost => {}
        }
        Answer::Renewed(renewal)
    }

    /// One of the dead letters if there is one: an id at random is seldom dead.
    async fn revive(&self, n: u8) -> Answer {
        let letters = self.broker.dead_letters(&self.queue, 0, 100).await;
        let letters = letters.expect("looking is answered");
        let id = match usize::from(n).checked_rem(letters.len()) {
            Some(index) => letters[index].id,
            None => task_id(n),
        };
        let answer = self.broker.revive(&self.queue, id).await;
        Answer::Revived(id, answer.expect("a revival is answered"))
    }

    async fn report(&self, who: Who, n: u8) -> Answer {
        let held = &self.slots[usize::from(who.slot)].held;
        let running = held.iter().map(|delivery| RunningTask {
            id: delivery.id,
            task: "play".to_owned(),
            ran: secs(n.into()),
            progress: n.is_multiple_of(2).then(|| Progress::from((n.into(), 256))),
        });
        let report = WorkerReport {
            host: format!("host-{}", who.slot),
            pid: n.into(),
            running: running.collect(),
            ..WorkerReport::default()
        };
        let worker = self.worker(who);
        let kept = self.broker.report(worker, &self.queue, report.encode());
        Answer::Reported(kept.await.expect("a report is answered"))
    }

    /// One of the dead letters if there is one.
    async fn revive_edited(&self, n: u8, span: u8, lock: Option<Lock>) -> Answer {
        let letters = self.broker.dead_letters(&self.queue, 0, 100).await;
        let letters = letters.expect("looking is answered");
        let Some(index) = usize::from(n).checked_rem(letters.len()) else {
            return Answer::Nothing;
        };
        let letter = &letters[index];
        let envelope = Envelope::decode(&letter.bytes).expect("what was sent can be read");
        let envelope = Envelope {
            args: bytes::Bytes::copy_from_slice(&[0xcc, n]),
            unique: lock,
            ..envelope
        };
        let edit = Edit::new().start(When::In(secs(span.into())));
        let task = edit.apply(envelope).expect("a small envelope encodes");
        let answer = self
            .broker
            .revive_edited(&self.queue, letter.died_at, task)
            .await;
        Answer::Revived(letter.id, answer.expect("a revival is answered"))
    }

    /// A task at random, and one of the dead letters if there is one.
    async fn purge(&self, n: u8) -> Answer {
        let letters = self.broker.dead_letters(&self.queue, 0, 100).await;
        let letters = letters.expect("looking is answered");
        let mut ids = vec![task_id(n % IDS)];
        ids.extend(
            usize::from(n)
                .checked_rem(letters.len())
                .map(|index| letters[index].id),
        );
        let answer = self.broker.purge(&self.queue, ids.clone()).await;
        let purged = ids.into_iter().zip(answer.expect("a purge is answered"));
        Answer::Purged(
            purged
                .filter_map(|(id, was_dead)| was_dead.then_some(id))
                .collect(),
        )
    }

    /// One of the scheduled tasks if there is one.
    async fn reschedule(&self, n: u8, retiming: Retiming) -> Answer {
        let tasks = self.broker.scheduled(&self.queue, 0, 100).await;
        let tasks = tasks.expect("looking is answered");
        let id = match usize::from(n).checked_rem(tasks.len()) {
            Some(index) => tasks[index].id,
            None => task_id(n % IDS),
        };
        let when = match retiming {
            Retiming::In(n) => When::In(secs(n.into())),
            Retiming::At(n) => When::At(ManualClock::default().now().plus(secs(n.into()))),
        };
        let answer = self.broker.reschedule(&self.queue, id, when).await;
        Answer::Rescheduled(id, answer.expect("a change of a time is answered"))
    }

    async fn outcome(&self, id: TaskId) -> Answer {
        let answer = self.broker.outcome(&self.queue, id, Duration::ZERO).await;
        Answer::Outcome(match answer.expect("waiting is answered") {
            Awaited::Unknown => "unknown".to_owned(),
            Awaited::TimedOut => "not yet".to_owned(),
            Awaited::Outcome(bytes) => match Outcome::decode(&bytes) {
                Ok(Outcome::Failed(failure)) => failure.kind.to_string(),
                Ok(outcome) => format!("{outcome:?}"),
                Err(error) => panic!("{id} has an outcome that cannot be read: {error}"),
            },
        })
    }

    fn worker(&self, who: Who) -> WorkerId {
        let slot = &self.slots[usize::from(who.slot)];
        if who.former {
            slot.former
        } else {
            slot.present
        }
    }

    fn somebody_who_holds(&self, who: Who) -> Who {
        let holds = |slot: &u8| !self.slots[usize::from(*slot)].held.is_empty();
        let mut slots = (who.slot..SLOTS).chain(0..who.slot);
        let slot = slots.find(holds).unwrap_or(who.slot);
        Who { slot, ..who }
    }

    async fn renew_identity(&mut self, slot: u8) {
        let fresh = self.identity().await;
        let slot = &mut self.slots[usize::from(slot)];
        slot.former = std::mem::replace(&mut slot.present, fresh);
        // What the former process held is what `Pick::Past` and a former `Who` are for.
        slot.held.clear();
    }

    async fn identity(&mut self) -> WorkerId {
        self.identities += 1;
        let worker = worker_id(self.identities);
        let answer = self.broker.register(worker, &self.queue, LEASE).await;
        answer.expect("registering is answered");
        worker
    }
}

fn nth(list: &[Delivery], n: u8) -> Option<usize> {
    usize::from(n).checked_rem(list.len())
}

fn verdict_of(verdict: Verdicts, fence: Fence) -> Verdict {
    // Longer than a sequence lasts by anybody's clock: brokers may keep outcomes by another than the one that is moved.
    let kept = |keep: bool| keep.then_some(hours(24));
    match verdict {
        Verdicts::Done(keep) => Verdict::Done {
            outcome: Outcome::Done(fence.number.to_be_bytes().to_vec().into()),
            keep: kept(keep),
        },
        Verdicts::Retry(n) => Verdict::RetryIn(secs(n.into())),
        Verdicts::Park(n) => Verdict::Park(secs(n.into())),
        Verdicts::Snooze(n) => Verdict::Snooze(secs(n.into())),
        Verdicts::Release => Verdict::Release,
        Verdicts::Bury => Verdict::Bury(Failure::new(FailureKind::Error, "broken")),
    }
}

fn row(letter: DeadLetter) -> (TaskId, Millis, FailureKind, bytes::Bytes) {
    (letter.id, letter.died_at, letter.failure.kind, letter.bytes)
}

fn task_id(n: u8) -> TaskId {
    TaskId::from_bytes([n; 16])
}

fn worker_id(n: u8) -> WorkerId {
    WorkerId::from_bytes([n; 16])
}
