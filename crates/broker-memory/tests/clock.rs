//! Moving the clock of a memory broker wakes whoever waits for what has become due.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    BeatRole, Broker, Claim, Clock, Envelope, ManualClock, Membership, QueueName, Schedules,
    TaskId, TaskName, When, WorkerId, hours, secs,
};
use tokio::time::timeout;

const LIMIT: Duration = secs(30);

fn envelope(queue: &QueueName) -> Envelope {
    let name = TaskName::parse("later").expect("it is a name");
    Envelope {
        start: Some(When::In(hours(1))),
        ..Envelope::new(
            TaskId::random(),
            name,
            queue.clone(),
            Bytes::from_static(b"\xc0"),
        )
    }
}

#[tokio::test]
async fn advancing_the_clock_wakes_idle_workers_for_what_is_due() {
    let broker = MemoryBroker::with_clock(Clock::Manual(ManualClock::default()));
    let queue = QueueName::parse("mail").unwrap();
    let tasks = [envelope(&queue), envelope(&queue)].map(|task| task.encode().unwrap());
    broker.enqueue(&queue, tasks.to_vec()).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (broker, queue) = (broker.clone(), queue.clone());
        workers.spawn(async move {
            let worker = WorkerId::random();
            broker.register(worker, &queue, hours(9)).await.unwrap();
            loop {
                let claim = broker.claim(worker, &queue, NonZeroU16::MIN).await.unwrap();
                let Claim::Granted(batch) = claim else {
                    panic!("the lease is good");
                };
                if !batch.deliveries.is_empty() {
                    return batch.deliveries.len();
                }
                broker.wait(&queue, hours(9)).await.unwrap();
            }
        });
    }
    tokio::task::yield_now().await;
    broker.advance(hours(1));
    let claimed = timeout(LIMIT, workers.join_all()).await.unwrap();
    assert_eq!(claimed, [1, 1]);
}

#[tokio::test]
async fn advancing_the_clock_wakes_beats_of_each_role() {
    let broker = MemoryBroker::with_clock(Clock::Manual(ManualClock::default()));
    for role in [BeatRole::Leader, BeatRole::Standby] {
        broker.advance(hours(1));
        let turn = broker.await_turn(role, hours(9));
        timeout(LIMIT, turn).await.unwrap().unwrap();
    }
}
