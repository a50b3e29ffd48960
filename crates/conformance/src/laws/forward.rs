//! What holds of tasks on their way from an outbox to their queue: each reaches it once.

use lovage_core::{
    Amendment, BATCH_MAX, Broker, EnqueueError, Envelope, Forwarded, Inspect, Millis, Outgoing,
    Place, Schedules, TaskId, When, ms, secs,
};

use crate::world::{LONG, done, ids_out, payload, queue, settle_down, soon, storing};
use crate::{Harness, World};

/// Lets a schedule send these tasks, each to the queue it names.
async fn put_out_all<H: Harness>(world: &World<H>, envelopes: &[Envelope]) {
    let sends = envelopes
        .iter()
        .map(|envelope| (envelope.queue.clone(), envelope.encode().unwrap()));
    let amendment = Amendment {
        sends: sends.collect(),
        ..storing("sender", world.version("sender").await, None)
    };
    world.made(amendment).await;
}

fn last(outgoing: &[Outgoing]) -> u64 {
    outgoing.last().expect("something waits").number
}

fn stored(stored: usize) -> Forwarded {
    Forwarded { stored, known: 0 }
}

fn known(known: usize) -> Forwarded {
    Forwarded { stored: 0, known }
}

/// Lets a worker do all that is ready, so that its tasks are gone and their ids are free.
async fn run_all<H: Harness>(world: &World<H>) -> Vec<TaskId> {
    let worker = world.worker().await;
    let held = world.claim(worker, 100).await;
    world.settle(worker, &held, done(None)).await;
    crate::world::ids_of(&held)
}

pub async fn what_is_sent_waits_in_its_outbox_in_order(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelopes: Vec<_> = (0..3).map(|_| world.envelope()).collect();
    put_out_all(&world, &envelopes).await;
    let more = world.put_out("another", 2).await;
    let waiting = world.outbox().await;
    let mut expected: Vec<TaskId> = envelopes.iter().map(|envelope| envelope.id).collect();
    expected.extend(more);
    assert_eq!(ids_out(&waiting), expected);
    for (task, envelope) in waiting.iter().zip(&envelopes) {
        assert_eq!(Envelope::decode(&task.bytes).unwrap(), *envelope);
    }
    // Reading takes nothing out, and brings no more than asked for.
    assert_eq!(world.outbox_of(&world.queue, 2).await, waiting[..2]);
    assert_eq!(world.outbox().await, waiting);
}

pub async fn each_queue_has_its_own_outbox(harness: impl Harness) {
    let world = World::start(harness).await;
    let there = Envelope {
        queue: queue("reports"),
        ..world.envelope()
    };
    let here = world.envelope();
    put_out_all(&world, &[there.clone(), here.clone()]).await;
    assert_eq!(ids_out(&world.outbox().await), [here.id]);
    let reports = world.outbox_of(&queue("reports"), 9).await;
    assert_eq!(ids_out(&reports), [there.id]);
    assert_eq!(world.outbox_of(&queue("none"), 9).await, []);
    assert!(!world.forwarded(last(&world.outbox().await)).await);
    assert_eq!(world.outbox().await, []);
    assert_eq!(world.outbox_of(&queue("reports"), 9).await, reports);
}

pub async fn numbers_grow_over_all_outboxes(harness: impl Harness) {
    let world = World::start(harness).await;
    let reports = queue("reports");
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let there = Envelope {
            queue: reports.clone(),
            ..world.envelope()
        };
        put_out_all(&world, &[world.envelope(), there, world.envelope()]).await;
        let (mail, other) = (world.outbox().await, world.outbox_of(&reports, 9).await);
        numbers.extend([mail[0].number, other[0].number, mail[1].number]);
        // Emptied outboxes do not start over.
        world.forwarded(last(&mail)).await;
        world
            .broker
            .forwarded(&reports, last(&other))
            .await
            .unwrap();
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// Where a failover takes the counter back, the instant in the number takes it forward again.
pub async fn a_number_is_above_those_of_earlier_instants(harness: impl Harness) {
    let world = World::start(harness).await;
    for _ in 0..3 {
        world.put_out("sender", 1).await;
        let number = last(&world.outbox().await);
        assert!(1000 * world.now().get() <= number, "{number}");
        world.advance(secs(1));
    }
}

pub async fn a_forwarded_task_is_ready_in_its_queue(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelopes = [world.envelope(), world.prioritised(9), world.envelope()];
    put_out_all(&world, &envelopes).await;
    assert_eq!(world.forward(&world.outbox().await).await, stored(3));
    for envelope in &envelopes {
        assert_eq!(world.state(envelope.id).await, Place::Ready);
    }
    let claimed = world.claim(worker, 9).await;
    let [first, urgent, second] = &envelopes;
    let expected = [urgent.id, first.id, second.id];
    assert_eq!(crate::world::ids_of(&claimed), expected);
    assert_eq!(Envelope::decode(&claimed[0].bytes).unwrap(), *urgent);
}

/// Guarantee of a forward: done again, by whomever, it does nothing.
pub async fn forwarding_twice_stores_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 3).await;
    let waiting = world.outbox().await;
    assert_eq!(world.forward(&waiting).await, stored(3));
    assert_eq!(world.forward(&waiting).await, known(3));
    assert_eq!(run_all(&world).await, sent);
}

/// Nothing of the task is left by which its id could be known: the number is.
pub async fn forwarding_again_after_the_task_is_gone_stores_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 2).await;
    let waiting = world.outbox().await;
    world.forward(&waiting).await;
    assert_eq!(run_all(&world).await, sent);
    for _ in 0..2 {
        assert_eq!(world.forward(&waiting).await, known(2));
        world.advance(secs(86_400));
    }
    assert_eq!(run_all(&world).await, []);
}

/// A forwarder that was frozen wakes when others have gone on long since.
pub async fn a_late_forward_of_an_old_batch_stores_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    world.put_out("sender", 2).await;
    let old = world.outbox().await;
    world.forward(&old).await;
    world.forwarded(last(&old)).await;
    world.put_out("sender", 2).await;
    let new = world.outbox().await;
    world.forward(&new).await;
    world.forwarded(last(&new)).await;
    assert_eq!(run_all(&world).await.len(), 4);
    assert_eq!(world.forward(&old).await, known(2));
    assert_eq!(run_all(&world).await, []);
}

pub async fn a_batch_that_was_stored_in_part_is_completed(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 5).await;
    let waiting = world.outbox().await;
    assert_eq!(world.forward(&waiting[..2]).await, stored(2));
    let all = Forwarded {
        stored: 3,
        known: 2,
    };
    assert_eq!(world.forward(&waiting).await, all);
    assert_eq!(run_all(&world).await, sent);
}

pub async fn concurrent_forwards_store_each_task_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 50).await;
    let waiting = world.outbox().await;
    let mut forwards = tokio::task::JoinSet::new();
    for count in [50, 10, 50, 30, 50] {
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let batch = waiting[..count].to_vec();
        forwards.spawn(async move { broker.forward(&queue, batch).await.unwrap().stored });
    }
    let total: usize = forwards.join_all().await.iter().sum();
    assert_eq!(total, sent.len());
    assert_eq!(run_all(&world).await, sent);
}

/// Somebody sent it by its id before: while that task lives there is no other one.
pub async fn a_task_that_lives_already_is_known(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;
    put_out_all(&world, &[envelope.clone(), world.envelope()]).await;
    let both = Forwarded {
        stored: 1,
        known: 1,
    };
    assert_eq!(world.forward(&world.outbox().await).await, both);
    assert_eq!(run_all(&world).await.len(), 2);
    // It has had its turn: that its id is free now does not bring it back.
    assert_eq!(world.forward(&world.outbox().await).await, known(2));
}

pub async fn a_full_queue_refuses_a_forward_whole_and_it_can_be_done_again(harness: impl Harness) {
    let world = World::start(harness).await;
    world.bound(Some(2)).await;
    let sent = world.put_out("sender", 3).await;
    let waiting = world.outbox().await;
    for _ in 0..2 {
        let answer = world.broker.forward(&world.queue, waiting.clone()).await;
        let Err(EnqueueError::QueueFull { len, bound, .. }) = answer else {
            panic!("the queue is too small: {answer:?}");
        };
        assert_eq!((len, bound), (0, 2));
    }
    assert_eq!(world.state(sent[0]).await, Place::Gone);
    assert_eq!(world.outbox().await, waiting);
    // What fits goes; what the queue has seen takes no room.
    assert_eq!(world.forward(&waiting[..2]).await, stored(2));
    assert_eq!(world.forward(&waiting[..2]).await, known(2));
    assert_eq!(run_all(&world).await, sent[..2]);
    assert_eq!(world.forward(&waiting).await.stored, 1);
    assert_eq!(run_all(&world).await, sent[2..]);
}

pub async fn forwarded_tasks_start_at_their_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent_at = world.now();
    let starts = [
        When::At(sent_at.plus(secs(10))),
        When::At(Millis::new(1)),
        When::In(secs(10)),
    ];
    let envelopes = starts.map(|start| Envelope {
        start: Some(start),
        ..world.envelope()
    });
    put_out_all(&world, &envelopes).await;
    world.advance(secs(4));
    world.forward(&world.outbox().await).await;
    let [at, passed, within] = envelopes.map(|envelope| envelope.id);
    assert_eq!(world.claim_ids(worker, 9).await, [passed]);
    world.advance(secs(6));
    assert_eq!(world.claim_ids(worker, 9).await, [at]);
    // A span counts from when the queue takes the task.
    world.advance(secs(4));
    assert_eq!(world.claim_ids(worker, 9).await, [within]);
}

pub async fn a_forwarded_task_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    world.put_out("sender", 1).await;
    let (broker, queue) = (world.broker.clone(), world.queue.clone());
    let wait = tokio::spawn(async move { broker.wait(&queue, LONG).await });
    settle_down().await;
    world.forward(&world.outbox().await).await;
    soon("the wake-up", wait).await.unwrap().unwrap();
}

pub async fn forwarded_takes_out_only_what_was_forwarded(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", 3).await;
    let waiting = world.outbox().await;
    assert!(world.forwarded(waiting[0].number - 1).await);
    assert_eq!(world.outbox().await, waiting);
    assert!(world.forwarded(waiting[1].number).await);
    assert_eq!(world.outbox().await, waiting[2..]);
    // Late, and again.
    assert!(world.forwarded(waiting[0].number).await);
    let more = world.put_out("sender", 1).await;
    assert!(world.forwarded(waiting[2].number).await);
    assert_eq!(ids_out(&world.outbox().await), more);
    assert!(!world.forwarded(last(&world.outbox().await)).await);
    assert!(!world.forwarded(waiting[2].number).await);
    assert_eq!(world.outbox().await, []);
    assert_eq!(world.state(sent[0]).await, Place::Gone);
}

pub async fn a_full_batch_is_forwarded_at_once_and_no_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = world.put_out("sender", BATCH_MAX).await;
    world.put_out("another", 1).await;
    let mut waiting = world.outbox().await;
    waiting.extend(world.outbox().await);
    assert!(BATCH_MAX < waiting.len());
    let answer = world.broker.forward(&world.queue, waiting.clone()).await;
    assert!(
        matches!(answer, Err(EnqueueError::BatchTooLarge { .. })),
        "{answer:?}"
    );
    assert_eq!(world.state(sent[0]).await, Place::Gone);
    waiting.truncate(BATCH_MAX);
    assert_eq!(ids_out(&waiting), sent);
    assert_eq!(world.forward(&waiting).await, stored(BATCH_MAX));
    assert_eq!(world.forward(&[]).await, Forwarded::default());
}

/// All the way, as a forwarder goes it: what was sent arrives once, in its order, and nothing is left behind.
pub async fn what_was_sent_arrives_once_and_in_its_order(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.extend(world.put_out("sender", 7).await);
        world.advance(ms(1));
    }
    let mut more = true;
    while more {
        let batch = world.outbox_of(&world.queue, 4).await;
        world.forward(&batch).await;
        more = world.forwarded(last(&batch)).await;
    }
    assert_eq!(run_all(&world).await, sent);
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().ready, 0);
}

/// A number says nothing of another queue.
pub async fn each_queue_knows_its_own_numbers(harness: impl Harness) {
    let world = World::start(harness).await;
    let reports = queue("reports");
    let there = Envelope {
        queue: reports.clone(),
        args: payload(b"\x01"),
        ..world.envelope()
    };
    put_out_all(&world, &[there, world.envelope()]).await;
    assert_eq!(world.forward(&world.outbox().await).await, stored(1));
    let waiting = world.outbox_of(&reports, 9).await;
    let answer = world.broker.forward(&reports, waiting).await;
    assert_eq!(answer.unwrap(), stored(1));
}
