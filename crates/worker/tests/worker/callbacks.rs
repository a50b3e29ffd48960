//! Callbacks for tasks that have failed for good: where their queue takes only some, and where the worker ends.

use std::num::NonZeroU16;
use std::sync::atomic::Ordering;

use lovage_core::{
    Ack, Broker, Callback, Callbacks, Cancelled, Claim, Control, Envelope, Failure, FailureKind,
    Inspect, Membership, Priority, Settlement, TaskName, Verdict, WorkerId, mins, ms, secs,
};

use crate::support::{Act, Stand, envelope, queue, send, until};

/// Longer than nobody else is shown what one worker sends.
const SHOWN_AGAIN: std::time::Duration = mins(1);

/// A task of the queue `default` that fails for good, and calls back to the queue `to`.
fn failing(to: &str) -> Envelope {
    Envelope {
        on_failure: Some(Callback {
            task: TaskName::parse("report").unwrap(),
            queue: queue(to),
            priority: Priority::default(),
            ack: Ack::Late,
            on_failure: None,
        }),
        ..envelope("default", &Act::FailForGood)
    }
}

/// Leaves `count` dead letters that call back to the queue `to`, by a worker that sends nothing.
async fn bury(stand: &Stand, to: &str, count: u16) {
    let (broker, default, worker) = (&stand.memory, queue("default"), WorkerId::random());
    broker.register(worker, &default, secs(60)).await.unwrap();
    for _ in 0..count {
        send(broker, &failing(to)).await;
    }
    let max = NonZeroU16::new(count).unwrap();
    let Claim::Granted(batch) = broker.claim(worker, &default, max).await.unwrap() else {
        panic!("no lease");
    };
    let verdicts = batch.deliveries.iter().map(|delivery| Settlement {
        id: delivery.id,
        fence: delivery.fence,
        verdict: Verdict::Bury(Failure::new(FailureKind::Error, "broken")),
    });
    broker
        .settle(worker, &default, verdicts.collect())
        .await
        .unwrap();
    assert!(broker.retire(worker, &default).await.unwrap());
    stand.memory.advance(ms(1));
}

async fn sent(stand: &Stand, to: &str) -> u64 {
    stand.memory.counts(&queue(to)).await.unwrap().ready
}

async fn until_sent(stand: &Stand, to: &str, count: u64) {
    let start = std::time::Instant::now();
    while sent(stand, to).await != count {
        assert!(
            start.elapsed() < secs(20),
            "{} of {count} are sent",
            sent(stand, to).await
        );
        tokio::time::sleep(ms(2)).await;
    }
}

/// How many are owed when all may be looked at again.
async fn owed(stand: &Stand) -> usize {
    stand.memory.advance(SHOWN_AGAIN);
    let (default, max) = (queue("default"), NonZeroU16::new(1_000).unwrap());
    stand
        .memory
        .owed(&default, max, secs(10))
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_full_queue_is_sent_the_callbacks_that_fit_and_the_others_when_it_has_room() {
    let stand = Stand::new();
    bury(&stand, "support", 3).await;
    let support = queue("support");
    stand.memory.bound(&support, Some(2)).await.unwrap();
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    until_sent(&stand, "support", 2).await;
    stand.memory.bound(&support, None).await.unwrap();
    stand.memory.advance(SHOWN_AGAIN);
    until_sent(&stand, "support", 3).await;
    worker.shutdown().await;
    assert_eq!(owed(&stand).await, 0);
}

#[tokio::test]
async fn callbacks_that_are_there_already_are_noted_though_their_queue_is_full() {
    let stand = Stand::new();
    bury(&stand, "support", 1).await;
    // By a worker that was killed before it could note so.
    let letter = stand.dead().await.remove(0);
    let there = lovage_core::Owed { letter, losses: 0 }.callback().unwrap();
    send(&stand.memory, &there).await;
    bury(&stand, "support", 1).await;
    stand
        .memory
        .bound(&queue("support"), Some(1))
        .await
        .unwrap();
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let notes = &stand.broker.faults.notes;
    until("it is noted", || notes.load(Ordering::SeqCst) == 1).await;
    worker.shutdown().await;
    assert_eq!(owed(&stand).await, 1);
}

#[tokio::test]
async fn a_callback_that_was_not_noted_is_sent_once_though_it_has_ended() {
    let stand = Stand::new();
    bury(&stand, "support", 1).await;
    let letter = stand.dead().await.remove(0);
    let id = lovage_core::Owed { letter, losses: 0 }
        .callback()
        .unwrap()
        .id;
    stand.broker.set(|faults| &faults.lost_notes, true);
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let notes = &stand.broker.faults.notes;
    until("it is sent", || notes.load(Ordering::SeqCst) == 1).await;
    let ended = stand.memory.cancel(&queue("support"), id).await.unwrap();
    assert_eq!(ended, Cancelled::Removed);
    stand.broker.set(|faults| &faults.lost_notes, false);
    stand.memory.advance(SHOWN_AGAIN);
    until("it is sent again", || notes.load(Ordering::SeqCst) == 2).await;
    worker.shutdown().await;
    assert_eq!((sent(&stand, "support").await, owed(&stand).await), (0, 0));
}

#[tokio::test]
async fn callbacks_that_some_partitions_took_are_not_sent_again() {
    let stand = Stand::new();
    bury(&stand, "support", 3).await;
    stand.broker.set(|faults| &faults.one_partition_only, true);
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    until_sent(&stand, "support", 1).await;
    worker.shutdown().await;
    assert_eq!(owed(&stand).await, 2);
}

#[tokio::test]
async fn callbacks_of_a_full_queue_hold_up_no_others() {
    let stand = Stand::new();
    bury(&stand, "support", 250).await;
    bury(&stand, "ops", 1).await;
    stand
        .memory
        .bound(&queue("support"), Some(0))
        .await
        .unwrap();
    let worker = stand.worker().start().await.unwrap();
    // The worker's own burial is all that asks.
    send(&stand.memory, &failing("support")).await;
    until_sent(&stand, "ops", 1).await;
    worker.shutdown().await;
    assert_eq!(
        (sent(&stand, "support").await, owed(&stand).await),
        (0, 251)
    );
}

#[tokio::test]
async fn a_worker_that_stops_notes_the_callbacks_that_it_has_sent() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.late_notes, true);
    let worker = stand.worker().start().await.unwrap();
    send(&stand.memory, &failing("support")).await;
    until_sent(&stand, "support", 1).await;
    worker.shutdown().await;
    assert_eq!(owed(&stand).await, 0);
}

#[tokio::test]
async fn a_worker_that_stops_sends_no_further_callbacks_before_it_notes_those_it_has_sent() {
    let stand = Stand::new();
    bury(&stand, "support", 3).await;
    stand
        .memory
        .bound(&queue("support"), Some(2))
        .await
        .unwrap();
    stand.broker.set(|faults| &faults.late_sends, true);
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let sends = &stand.broker.faults.single_sends;
    until("one is on its way", || sends.load(Ordering::SeqCst) == 1).await;
    worker.shutdown().await;
    assert_eq!((sent(&stand, "support").await, owed(&stand).await), (1, 2));
}
