//! A memory broker with a clock that the test moves, and what tests of beats do with it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses its part, and fails where its stage cannot be set"
)]

pub(crate) mod faulty;

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_beat::{Beat, Entry, HEADER_SCHEDULE, Origin, RunningBeat, Schedule, Timetable};
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Broker, Claim, Clock, Delivery, Envelope, Fence, ManualClock, Membership, Millis, Outcome,
    QueueName, ScheduleName, Settlement, TaskId, TaskName, Verdict, WorkerId, hours, secs,
};
use tokio::time::timeout;

/// Longer than anything that is waited for takes.
pub(crate) const LIMIT: Duration = secs(30);

pub(crate) fn name(text: &str) -> ScheduleName {
    ScheduleName::parse(text).unwrap()
}

pub(crate) fn queue(text: &str) -> QueueName {
    QueueName::parse(text).unwrap()
}

/// An entry made at run time that sends a task to the queue `mail`.
pub(crate) fn entry(schedule_name: &str, schedule: Schedule) -> Entry {
    entry_to(schedule_name, schedule, "mail")
}

pub(crate) fn entry_to(schedule_name: &str, schedule: Schedule, to: &str) -> Entry {
    let template = Envelope::new(
        TaskId::from_bytes([0; 16]),
        TaskName::parse("report").unwrap(),
        queue(to),
        Bytes::from_static(b"\x90"),
    );
    Entry::new(name(schedule_name), schedule, Origin::Runtime, template)
}

#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) broker: MemoryBroker,
    pub(crate) clock: ManualClock,
    pub(crate) timetable: Timetable<MemoryBroker>,
    worker: WorkerId,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::at(Millis::new(1_000_000_000_000))
    }

    pub(crate) fn at(start: Millis) -> Self {
        let clock = ManualClock::starting_at(start);
        let broker = MemoryBroker::with_clock(Clock::Manual(clock.clone()));
        Self {
            timetable: Timetable::new(broker.clone()),
            broker,
            clock,
            worker: WorkerId::random(),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.broker.advance(span);
    }

    pub(crate) async fn add(&self, entry: Entry) {
        self.timetable.upsert(entry).await.unwrap();
    }

    pub(crate) async fn beat(&self) -> RunningBeat {
        Beat::builder(self.broker.clone()).start().await.unwrap()
    }

    /// Waits until `beat` knows that nothing is due at the present instant, and all it has fired is forwarded.
    pub(crate) async fn settle(&self, beat: &RunningBeat) {
        let now = self.now();
        eventually("the beat to settle", || {
            let stats = beat.stats();
            stats.caught_up.is_some_and(|caught_up| now <= caught_up)
                && stats.fired <= stats.forwarded
        })
        .await;
    }

    /// Runs all that is ready in a queue. Answers the ids, in their order.
    pub(crate) async fn taken(&self, from: &str) -> Vec<TaskId> {
        let taken = self.claimed(from).await;
        let ids = taken.iter().map(|(id, _)| *id).collect();
        self.finish(from, taken).await;
        ids
    }

    /// Runs all that is ready in a queue. Answers the ids with the schedules that sent them.
    pub(crate) async fn taken_by_schedule(&self, from: &str) -> Vec<(TaskId, String)> {
        let deliveries = self.deliveries(from).await;
        let named = deliveries.iter().map(|delivery| {
            let envelope = Envelope::decode(&delivery.bytes).unwrap();
            (delivery.id, envelope.headers[HEADER_SCHEDULE].clone())
        });
        let named = named.collect();
        let fences = deliveries.iter().map(|d| (d.id, d.fence)).collect();
        self.finish(from, fences).await;
        named
    }

    /// Claims all that is ready in a queue.
    pub(crate) async fn claimed(&self, from: &str) -> Vec<(TaskId, Fence)> {
        let deliveries = self.deliveries(from).await;
        deliveries.iter().map(|d| (d.id, d.fence)).collect()
    }

    async fn deliveries(&self, from: &str) -> Vec<Delivery> {
        let (mut taken, from) = (Vec::new(), queue(from));
        // The clock of the test jumps by years.
        self.broker
            .register(self.worker, &from, hours(24 * 365 * 100))
            .await
            .unwrap();
        loop {
            let max = NonZeroU16::new(1000).unwrap();
            let claim = self.broker.claim(self.worker, &from, max).await.unwrap();
            let Claim::Granted(batch) = claim else {
                panic!("the lease is good");
            };
            if batch.deliveries.is_empty() {
                return taken;
            }
            taken.extend(batch.deliveries);
        }
    }

    pub(crate) async fn finish(&self, from: &str, taken: Vec<(TaskId, Fence)>) {
        for part in taken.chunks(1000) {
            let settlements = part
                .iter()
                .map(|(id, fence)| Settlement {
                    id: *id,
                    fence: *fence,
                    verdict: Verdict::Done {
                        outcome: Outcome::Done(Bytes::from_static(b"\xc0")),
                        keep: None,
                    },
                })
                .collect();
            let from = queue(from);
            let settled = self.broker.settle(self.worker, &from, settlements);
            assert!(settled.await.unwrap().stale.is_empty());
        }
    }
}

/// Lets others run until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(LIMIT, held).await.is_ok(), "waited for {what}");
}
