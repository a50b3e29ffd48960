//! What holds of idempotent sends: the same key is the same task, also when that is gone.

use lovage_core::{
    BATCH_MAX, Broker, Control, EnqueueError, Enqueued, Envelope, Place, TaskId, Verdict, ms, secs,
};

use crate::world::{almost, bury, done, encode, id, lock, queue};
use crate::{Harness, World};

impl<H: Harness> World<H> {
    /// A task that is remembered for ten seconds.
    fn remembered(&self, id: TaskId) -> Envelope {
        Envelope {
            remembered: Some(secs(10)),
            ..self.envelope_of(id)
        }
    }
}

pub async fn an_idempotency_key_outlives_its_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    for (n, verdict) in [done(None), bury("broken")].into_iter().enumerate() {
        let once = world.remembered(id(u8::try_from(n).unwrap()));
        world.send_one(once.clone()).await;
        assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
        let held = world.claim_one(worker).await;
        assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
        world.settle_one(worker, &held, verdict).await;
        assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
        world.broker.cancel(&world.queue, once.id).await.unwrap();
        assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
        assert_eq!(world.state(once.id).await, Place::Gone);
    }
    assert_eq!(world.claim_ids(worker, 9).await, []);
}

/// As where the arguments differ, by which a task is unique: the end of its id follows from its lock.
pub async fn sends_of_one_idempotency_key_are_one_task_whatever_keys_they_hold(
    harness: impl Harness,
) {
    let mut world = World::start(harness).await;
    // In a queue with partitions they need not meet.
    world.queue = queue("undivided");
    let plain = world.remembered(TaskId::random());
    let [first, second, third] = [1, 2, 3].map(|n| Envelope {
        id: plain.id.beside(lock(n).key.as_bytes()),
        unique: Some(lock(n)),
        ..plain.clone()
    });
    let existing = Enqueued::Existing(first.id);
    let answers = world.enqueue(vec![first.clone(), second.clone()]).await;
    assert_eq!(answers, [Enqueued::New, existing]);
    let worker = world.patient_worker().await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    let answers = world.enqueue(vec![second, third.clone(), plain]).await;
    assert_eq!(answers, [existing; 3]);
    assert_eq!(world.answer(first).await, Enqueued::Duplicate);
    // Their locks are as free as if they had never been sent.
    assert!(world.is_free(2).await);
    world.advance(secs(10));
    assert_eq!(world.answer(third).await, Enqueued::New);
}

/// Whose ids are remembered, as those of confirmed sends, and not what they begin with.
pub async fn two_remembered_sends_whose_ids_share_twelve_bytes_are_two_tasks(
    harness: impl Harness,
) {
    let mut world = World::start(harness).await;
    // In a queue with partitions they need not meet.
    world.queue = queue("undivided");
    let first = TaskId::random();
    let ids = [first, first.beside(&[1; 16]), first.beside(&[2; 16])];
    let sends = ids.map(|id| {
        let task = world.envelope_of(id).encode().unwrap();
        task.remembered_for(secs(10))
    });
    let [one, two, three] = sends.clone();
    for (call, new) in [(vec![one], 1), (vec![two, three], 2)] {
        let answers = world.broker.enqueue(&world.queue, call).await.unwrap();
        assert_eq!(answers, vec![Enqueued::New; new]);
    }
    let worker = world.patient_worker().await;
    for _ in ids {
        let held = world.claim_one(worker).await;
        world.settle_one(worker, &held, done(None)).await;
    }
    let again = world.broker.enqueue(&world.queue, sends.into()).await;
    assert_eq!(again.unwrap(), [Enqueued::Duplicate; 3]);
}

pub async fn an_idempotency_key_is_remembered_for_its_span_only(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let once = world.remembered(id(1));
    world.send_one(once.clone()).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    world.advance(almost(secs(10)));
    // Being sent again does not make it longer.
    assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
    world.advance(ms(1));
    assert_eq!(world.answer(once).await, Enqueued::New);
}

pub async fn a_task_that_lives_longer_than_its_key_is_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let once = world.remembered(id(1));
    world.send_one(once.clone()).await;
    world.advance(secs(60));
    assert_eq!(world.answer(once.clone()).await, Enqueued::Duplicate);
    let worker = world.patient_worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [once.id]);
}

pub async fn a_cancelled_task_is_remembered(harness: impl Harness) {
    let world = World::start(harness).await;
    let once = world.remembered(id(1));
    world.send_one(once.clone()).await;
    world.broker.cancel(&world.queue, once.id).await.unwrap();
    assert_eq!(world.answer(once).await, Enqueued::Duplicate);
}

pub async fn concurrent_sends_under_one_idempotency_key_are_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let call = encode(&[world.remembered(id(1))]);
        sends.spawn(async move { broker.enqueue(&queue, call).await.unwrap()[0] });
    }
    let answers = sends.join_all().await;
    let new = |answer: &&Enqueued| **answer == Enqueued::New;
    assert_eq!(answers.iter().filter(new).count(), 1, "{answers:?}");
}

pub async fn one_call_under_one_idempotency_key_is_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let call = vec![
        world.remembered(id(1)),
        world.remembered(id(1)),
        world.remembered(id(2)),
    ];
    let expected = [Enqueued::New, Enqueued::Duplicate, Enqueued::New];
    assert_eq!(world.enqueue(call).await, expected);
}

pub async fn a_full_batch_is_remembered_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let call: Vec<Envelope> = (0..BATCH_MAX)
        .map(|_| world.remembered(TaskId::random()))
        .collect();
    world.send_all(call.clone()).await;
    let held = world.claim(worker, 1000).await;
    world.settle(worker, &held, done(None)).await;
    let again = world.enqueue(call).await;
    assert_eq!(again, vec![Enqueued::Duplicate; BATCH_MAX]);
}

pub async fn a_refused_send_is_not_remembered(harness: impl Harness) {
    let world = World::start(harness).await;
    world.broker.bound(&world.queue, Some(0)).await.unwrap();
    let once = world.remembered(id(1));
    let call = encode(std::slice::from_ref(&once));
    let refused = world.broker.enqueue(&world.queue, call).await;
    assert!(
        matches!(refused, Err(EnqueueError::QueueFull { .. })),
        "{refused:?}"
    );
    world.broker.bound(&world.queue, None).await.unwrap();
    world.send_one(once).await;
}

pub async fn a_queue_remembers_its_own_sends(harness: impl Harness) {
    let world = World::start(harness).await;
    let once = world.remembered(id(1));
    world.send_one(once.clone()).await;
    let elsewhere = world
        .broker
        .enqueue(&queue("reports"), encode(&[once]))
        .await;
    assert_eq!(elsewhere.unwrap(), [Enqueued::New]);
}

/// A send that met another task's key became that task, and is it when it is repeated.
pub async fn an_idempotent_send_that_met_a_held_key_gets_the_same_answer_again(
    harness: impl Harness,
) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let first = world.send_one(world.unique(1)).await;
    let once = Envelope {
        remembered: Some(secs(10)),
        ..world.unique(1)
    };
    assert_eq!(world.answer(once.clone()).await, Enqueued::Existing(first));
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    assert_eq!(world.answer(once.clone()).await, Enqueued::Existing(first));
    world.advance(secs(10));
    world.send_one(once).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, Verdict::Release).await;
}
