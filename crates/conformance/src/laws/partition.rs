//! What holds of a queue that is divided: it is one queue to whoever asks.

use std::collections::HashSet;

use lovage_core::{
    Broker, Claim, Control, Counts, Encoded, EnqueueError, Enqueued, Envelope, Inspect, Lock,
    Membership, Partitioned, Partitioning, Partitions, Place, Renewal, Revived, TaskId, Until,
    Verdict, ms, secs,
};

use crate::world::{almost, bury, done, encode, lock, queue};
use crate::{Harness, LEASE, World};

/// A world whose verbs speak of a queue that nobody has divided yet.
async fn undivided<H: Harness>(harness: H) -> World<H> {
    let mut world = World::start(harness).await;
    world.queue = queue("undivided");
    world
}

/// The first key, held for ten seconds.
fn throttled() -> Lock {
    Lock {
        until: Until::Elapsed(secs(10)),
        ..lock(1)
    }
}

async fn divide<H: Harness>(world: &World<H>, count: u64) -> Partitioned {
    let partitions = Partitions::new(count).unwrap();
    let answer = world.broker.partition(&world.queue, partitions).await;
    answer.unwrap()
}

async fn count<H: Harness>(world: &World<H>) -> u8 {
    let partitions = world.broker.partitions(&world.queue).await;
    partitions.unwrap().get()
}

pub async fn a_queue_is_divided_once_and_for_all(harness: impl Harness) {
    let world = undivided(harness).await;
    assert_eq!(count(&world).await, 1);
    assert_eq!(divide(&world, 1).await, Partitioned::Done);
    for _ in 0..2 {
        assert_eq!(divide(&world, 8).await, Partitioned::Done);
        assert_eq!(count(&world).await, 8);
    }
    let fixed = Partitioned::Fixed {
        present: Partitions::new(8).unwrap(),
    };
    for other in [1, 4, 64] {
        assert_eq!(divide(&world, other).await, fixed);
    }
    assert_eq!(count(&world).await, 8);
    // Also while it is in use.
    world.send(20).await;
    assert_eq!(divide(&world, 8).await, Partitioned::Done);
}

/// Wherever they are: all of them would be looked for elsewhere.
pub async fn a_queue_that_holds_tasks_is_not_divided(harness: impl Harness) {
    let world = undivided(harness).await;
    let worker = world.worker().await;
    let holds = Partitioned::HoldsTasks { len: 1 };
    world.send(1).await;
    assert_eq!(divide(&world, 4).await, holds);
    for verdict in [Verdict::RetryIn(secs(1)), Verdict::Release, bury("broken")] {
        world.advance(secs(1));
        let held = world.claim_one(worker).await;
        assert_eq!(divide(&world, 4).await, holds);
        world.settle_one(worker, &held, verdict).await;
        assert_eq!(divide(&world, 4).await, holds);
    }
    assert_eq!(count(&world).await, 1);
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await;
    let id = letters.unwrap()[0].id;
    world.broker.cancel(&world.queue, id).await.unwrap();
    assert_eq!(divide(&world, 4).await, Partitioned::Done);
}

/// A send that is repeated would go to another partition, and be taken for a new one.
pub async fn a_queue_that_remembers_sends_is_not_divided(harness: impl Harness) {
    let throttled = throttled();
    let world = undivided(harness).await;
    let worker = world.patient_worker().await;
    let id = TaskId::random().beside(throttled.key.as_bytes());
    for envelope in [
        Envelope {
            remembered: Some(secs(10)),
            ..world.envelope_of(TaskId::random())
        },
        Envelope {
            unique: Some(throttled),
            ..world.envelope_of(id)
        },
    ] {
        world.send_one(envelope.clone()).await;
        let held = world.claim_one(worker).await;
        world.settle_one(worker, &held, done(None)).await;
        world.advance(secs(4));
        let refused = Partitioned::RemembersSends { left: secs(6) };
        assert_eq!(divide(&world, 8).await, refused);
        assert_eq!(world.answer(envelope).await, Enqueued::Duplicate);
        world.advance(almost(secs(6)));
        let refused = Partitioned::RemembersSends { left: ms(1) };
        assert_eq!(divide(&world, 8).await, refused);
        world.advance(ms(1));
    }
    assert_eq!(divide(&world, 8).await, Partitioned::Done);
}

pub async fn a_queue_where_a_dead_letter_took_a_key_for_its_span_is_not_divided(
    harness: impl Harness,
) {
    let world = undivided(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.plain_beside(1)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    let throttle = |envelope: &mut Envelope| envelope.unique = Some(throttled());
    assert_eq!(world.revive_as(id, throttle).await, Revived::Ready);
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    world.advance(secs(4));
    let refused = Partitioned::RemembersSends { left: secs(6) };
    assert_eq!(divide(&world, 8).await, refused);
    world.advance(secs(6));
    assert_eq!(divide(&world, 8).await, Partitioned::Done);
}

pub async fn a_partitioned_queue_is_one_queue(harness: impl Harness) {
    let world = undivided(harness).await;
    divide(&world, 8).await;
    let (worker, other) = (world.worker().await, world.worker().await);
    let envelopes: Vec<_> = (0..60)
        .map(|_| world.envelope_of(TaskId::random()))
        .collect();
    let sent: HashSet<TaskId> = world.send_all(envelopes).await.into_iter().collect();
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!((counts.ready, counts.active), (60, 0));

    let first = world.batch(worker, 25).await;
    assert_eq!((first.deliveries.len(), first.held), (25, 25));
    let second = world.batch(worker, 1).await;
    assert_eq!((second.deliveries.len(), second.held), (1, 26));
    let rest = world.batch(other, 100).await;
    assert_eq!((rest.deliveries.len(), rest.held), (34, 34));
    let mine = [first.deliveries, second.deliveries].concat();
    let all: HashSet<TaskId> = mine
        .iter()
        .chain(&rest.deliveries)
        .map(|one| one.id)
        .collect();
    assert_eq!(all, sent);
    assert_eq!(world.holds(worker).await, 26);

    let settled = world.settle(worker, &mine[..10], bury("broken")).await;
    assert_eq!(settled.stale, []);
    world
        .settle(worker, &mine[10..], Verdict::RetryIn(secs(5)))
        .await;
    world.settle(other, &rest.deliveries, done(None)).await;
    let counts = world.broker.counts(&world.queue).await.unwrap();
    let expected = Counts {
        scheduled: 16,
        dead: 10,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(world.batch(worker, 9).await.next_due, Some(secs(5)));
    let mut dead: Vec<TaskId> = mine[..10].iter().map(|delivery| delivery.id).collect();
    dead.sort_unstable();
    for (offset, limit) in [(0, 100), (0, 3), (4, 5), (9, 9)] {
        let page = world.broker.dead_letters(&world.queue, offset, limit).await;
        let ids: Vec<TaskId> = page.unwrap().iter().map(|letter| letter.id).collect();
        let end = dead.len().min(offset + limit);
        assert_eq!(ids, dead[offset..end], "offset {offset}, limit {limit}");
    }
    let one = dead[0];
    let revived = world.broker.revive(&world.queue, one).await.unwrap();
    assert_eq!(revived, Revived::Ready);
    assert_eq!(world.state(one).await, Place::Ready);
    assert_eq!(world.claim_ids(worker, 9).await, [one]);
}

/// Each handle finds out by itself, whatever it does first, and nothing is stored twice or lost by it.
pub async fn a_stale_partition_count_misplaces_nothing(harness: impl Harness) {
    let world = undivided(harness).await;
    let mut handles = Vec::new();
    for _ in 0..4 {
        let handle = world.broker.separate().await.unwrap();
        // It has heard that the queue is not divided.
        handle.counts(&world.queue).await.unwrap();
        handles.push(handle);
    }
    assert_eq!(divide(&world, 8).await, Partitioned::Done);
    let worker = world.worker().await;
    let mut sent = HashSet::new();
    for handle in &handles {
        let envelopes: Vec<_> = (0..15)
            .map(|_| world.envelope_of(TaskId::random()))
            .collect();
        let answers = handle.enqueue(&world.queue, encode(&envelopes)).await;
        assert_eq!(answers.unwrap().len(), 15);
        sent.extend(envelopes.iter().map(|envelope| envelope.id));
        for envelope in &envelopes[..3] {
            let place = world.broker.state(&world.queue, envelope.id).await.unwrap();
            assert_eq!(place, Place::Ready);
        }
    }
    let held = world.claim(worker, 100).await;
    let claimed: HashSet<TaskId> = held.iter().map(|delivery| delivery.id).collect();
    assert_eq!((held.len(), claimed), (60, sent));
    assert_eq!(world.settle(worker, &held, done(None)).await.stale, []);
    assert_eq!(
        world.broker.counts(&world.queue).await.unwrap(),
        Counts::default()
    );
}

/// It was registered when there was one partition: its next renewal makes it known to the others.
pub async fn a_worker_of_before_a_division_serves_all_of_the_queue(harness: impl Harness) {
    let world = undivided(harness).await;
    let worker = world.worker().await;
    assert_eq!(divide(&world, 4).await, Partitioned::Done);
    let envelopes: Vec<_> = (0..40)
        .map(|_| world.envelope_of(TaskId::random()))
        .collect();
    world.send_all(envelopes).await;
    let mut claimed = Vec::new();
    if let Claim::Granted(batch) = world.try_claim(worker, 100).await {
        claimed.extend(batch.deliveries);
    }
    let renewed = world.broker.renew(worker, &world.queue, LEASE).await;
    assert_eq!(renewed.unwrap(), Renewal::Held { cancelled: vec![] });
    claimed.extend(world.claim(worker, 100).await);
    assert_eq!((claimed.len(), world.holds(worker).await), (40, 40));
    assert_eq!(world.settle(worker, &claimed, done(None)).await.stale, []);
    assert!(world.broker.retire(worker, &world.queue).await.unwrap());
}

/// Not exactly: a partition that has its share refuses what others would take, and shares are rounded up.
pub async fn a_partitioned_queue_is_bounded_as_one(harness: impl Harness) {
    const PARTITIONS: u64 = 4;
    const BOUND: u64 = 42;
    let world = undivided(harness).await;
    // Before and after: a bound that is there is shared out.
    world.broker.bound(&world.queue, Some(BOUND)).await.unwrap();
    divide(&world, PARTITIONS).await;
    let (mut stored, mut refused) = (0, 0);
    for _ in 0..200 {
        let task: Vec<Encoded> = encode(&[world.envelope_of(TaskId::random())]);
        match world.broker.enqueue(&world.queue, task).await {
            Ok(_) => stored += 1,
            Err(EnqueueError::QueueFull { queue, .. }) if queue == world.queue => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    let (least, most) = (BOUND.div_ceil(PARTITIONS), BOUND + PARTITIONS - 1);
    assert!((least..=most).contains(&stored), "{stored} are stored");
    assert_eq!(stored + refused, 200);
    let counts = world.broker.counts(&world.queue).await.unwrap();
    assert_eq!(counts.ready, stored);
    // A batch is taken by those partitions that have room, and of each task it is told.
    world
        .broker
        .bound(&world.queue, Some(BOUND + 20))
        .await
        .unwrap();
    let batch: Vec<_> = (0..80)
        .map(|_| world.envelope_of(TaskId::random()))
        .collect();
    let taken = match world.broker.enqueue(&world.queue, encode(&batch)).await {
        Ok(answers) => panic!("{} are not all taken", answers.len()),
        Err(EnqueueError::InPart { answers, error, .. }) => {
            assert!(
                matches!(*error, EnqueueError::QueueFull { .. }),
                "{error:?}"
            );
            answers
        }
        Err(EnqueueError::QueueFull { .. }) => vec![None; batch.len()],
        Err(error) => panic!("{error:?}"),
    };
    for (envelope, taken) in batch.iter().zip(taken) {
        let expected = if taken.is_some() {
            Place::Ready
        } else {
            Place::Gone
        };
        assert_eq!(world.state(envelope.id).await, expected);
    }
    world.broker.bound(&world.queue, None).await.unwrap();
    world.send(100).await;
}
