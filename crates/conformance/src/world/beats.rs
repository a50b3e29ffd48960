//! What beats and people do to schedules, as the laws write it. Each panics where it is refused.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, BeatId, BeatRole, Change, Encoded, Forwarded, Lead, Millis, Outgoing,
    QueueName, ScheduleName, Schedules, StoredSchedule, TaskId, Tick, ms, secs,
};
use tokio::task::JoinHandle;

use super::{LONG, World, payload, settle_down};
use crate::harness::Harness;

/// The lease of every beat in a law, unless it says another.
pub(crate) const BEAT_LEASE: Duration = secs(5);

impl<H: Harness> World<H> {
    /// Asks for the lead.
    pub async fn lead(&self, beat: BeatId) -> Lead {
        self.lead_for(beat, BEAT_LEASE, 100).await
    }

    /// Asks for the lead, for this long and to see so many schedules.
    pub async fn lead_for(&self, beat: BeatId, lease: Duration, max: u16) -> Lead {
        let max = NonZeroU16::new(max).expect("a look asks for something");
        let answer = self.broker.lead(beat, lease, max).await;
        answer.expect("a beat is answered")
    }

    /// Takes or keeps the lead, which must be free.
    pub async fn hold(&self, beat: BeatId) -> Tick {
        held(self.lead(beat).await)
    }

    /// What a leader reads that asks for so many schedules.
    pub async fn look(&self, beat: BeatId, max: u16) -> Tick {
        held(self.lead_for(beat, BEAT_LEASE, max).await)
    }

    /// Gives up the lead.
    pub async fn resign(&self, beat: BeatId) {
        self.broker
            .resign(beat)
            .await
            .expect("a resignation is taken");
    }

    /// Changes schedules.
    pub async fn amend(&self, epoch: Option<u64>, amendments: Vec<Amendment>) -> Vec<Amended> {
        let answer = self.broker.amend(epoch, amendments).await;
        answer.expect("a change is answered")
    }

    /// Changes one schedule as a person does.
    pub async fn amend_one(&self, amendment: Amendment) -> Amended {
        self.amend(None, vec![amendment]).await.remove(0)
    }

    /// Stores a schedule as a person does, whatever it was before. Answers its version.
    pub async fn store(&self, name: &str, wake: Option<Millis>) -> u64 {
        let expected = self.version(name).await;
        self.made(storing(name, expected, wake)).await
    }

    /// Makes a change that must be possible. Answers the version.
    pub async fn made(&self, amendment: Amendment) -> u64 {
        match self.amend_one(amendment).await {
            Amended::Done(version) => version,
            refused => panic!("the change was not made: {refused:?}"),
        }
    }

    /// Lets a schedule, which is made if need be, send tasks to the queue of this world.
    pub async fn put_out(&self, name: &str, count: usize) -> Vec<TaskId> {
        let sends = self.sends(count);
        let ids = sends.iter().map(|(_, task)| task.id()).collect();
        let expected = self.version(name).await;
        let amendment = Amendment {
            sends,
            ..storing(name, expected, None)
        };
        self.made(amendment).await;
        ids
    }

    /// Tasks on their way to the queue of this world.
    pub fn sends(&self, count: usize) -> Vec<(QueueName, Encoded)> {
        let tasks = (0..count).map(|_| self.envelope().encode());
        tasks
            .map(|task| (self.queue.clone(), task.expect("it is small")))
            .collect()
    }

    /// One schedule.
    pub async fn schedule(&self, name: &str) -> Option<StoredSchedule> {
        let looked = self.broker.schedule(&schedule_name(name)).await;
        looked.expect("looking is answered").found
    }

    /// The version of a schedule, if there is one.
    pub async fn version(&self, name: &str) -> Option<u64> {
        self.schedule(name).await.map(|schedule| schedule.version)
    }

    /// The history of a schedule, newest first.
    pub async fn firings(&self, name: &str) -> Vec<Bytes> {
        let firings = self.broker.firings(&schedule_name(name), 1000).await;
        firings.expect("looking is answered")
    }

    /// What waits for the queue of this world.
    pub async fn outbox(&self) -> Vec<Outgoing> {
        self.outbox_of(&self.queue, 1000).await
    }

    /// The first tasks that wait for a queue.
    pub async fn outbox_of(&self, queue: &QueueName, max: u16) -> Vec<Outgoing> {
        let max = NonZeroU16::new(max).expect("a look asks for something");
        let outbox = self.broker.outbox(queue, max).await;
        outbox.expect("looking is answered")
    }

    /// Forwards tasks to the queue of this world, which must take them.
    pub async fn forward(&self, outgoing: &[Outgoing]) -> Forwarded {
        let answer = self.broker.forward(&self.queue, outgoing.to_vec()).await;
        answer.expect("the queue takes them")
    }

    /// Takes what was forwarded out of the outbox. Answers whether more waits.
    pub async fn forwarded(&self, up_to: u64) -> bool {
        let answer = self.broker.forwarded(&self.queue, up_to).await;
        answer.expect("the outbox answers")
    }

    /// Waits elsewhere for a turn, longer than a law lives; the wait has begun when this returns.
    pub async fn waits_for_a_turn(&self, role: BeatRole) -> JoinHandle<()> {
        let broker = self.broker.clone();
        let wait = tokio::spawn(async move {
            let turn = broker.await_turn(role, LONG).await;
            turn.expect("waiting is answered");
        });
        settle_down().await;
        wait
    }

    /// Takes in the rings that are left from before: a role that still waits after a while has none.
    pub async fn quiet(&self, role: BeatRole) {
        loop {
            let turn = self.broker.await_turn(role, LONG);
            if tokio::time::timeout(ms(50), turn).await.is_err() {
                return;
            }
        }
    }
}

/// What a leader reads.
pub(crate) fn held(lead: Lead) -> Tick {
    match lead {
        Lead::Held(tick) => tick,
        Lead::Standby(leader) => panic!("another beat leads: {leader:?}"),
    }
}

/// The names of schedules, in their order.
pub(crate) fn names_of(schedules: &[StoredSchedule]) -> Vec<&str> {
    let names = schedules.iter().map(|schedule| schedule.name.as_str());
    names.collect()
}

/// The ids of tasks on their way, in their order.
pub(crate) fn ids_out(outgoing: &[Outgoing]) -> Vec<TaskId> {
    outgoing.iter().map(|task| task.id).collect()
}

/// A schedule of this name.
pub(crate) fn schedule_name(name: &str) -> ScheduleName {
    ScheduleName::parse(name).expect("it is a name")
}

/// A change that stores a schedule and does nothing else.
pub(crate) fn storing(name: &str, expected: Option<u64>, wake: Option<Millis>) -> Amendment {
    let record = payload(b"record");
    changing(name, expected, Change::Store { record, wake })
}

/// A change that removes a schedule and does nothing else.
pub(crate) fn removing(name: &str, expected: Option<u64>) -> Amendment {
    changing(name, expected, Change::Remove)
}

fn changing(name: &str, expected: Option<u64>, change: Change) -> Amendment {
    Amendment {
        name: schedule_name(name),
        expected,
        change,
        sends: Vec::new(),
        firings: Vec::new(),
    }
}
