//! What holds of tasks that take another one's place, wait for silence, or come too soon after another.

use lovage_core::{
    Broker, Cancelled, Conflict, Control, Enqueued, Envelope, Lock, Place, Priority, Until,
    Verdict, When, ms, secs,
};

use crate::world::{almost, bury, done, encode, lock, payload};
use crate::{Harness, World};

fn replacing(n: u8) -> Lock {
    Lock {
        conflict: Conflict::Replace,
        ..lock(n)
    }
}

fn debounced(wait_max: Option<u64>) -> Lock {
    Lock {
        until: Until::Start,
        conflict: Conflict::Debounce {
            span: secs(10),
            wait_max: wait_max.map(secs),
        },
        ..lock(1)
    }
}

fn throttled() -> Lock {
    Lock {
        until: Until::Elapsed(secs(10)),
        ..lock(1)
    }
}

fn with_args(envelope: Envelope, args: &'static [u8]) -> Envelope {
    Envelope {
        args: payload(args),
        ..envelope
    }
}

pub async fn a_replaced_task_keeps_its_id_and_place_and_has_the_new_arguments(
    harness: impl Harness,
) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let first = world.send_one(world.locked(replacing(1))).await;
    let behind = world.send_one(world.plain_beside(1)).await;
    for args in [&b"\x01"[..], b"\x02"] {
        let newer = with_args(world.locked(replacing(1)), args);
        let id = newer.id;
        assert_eq!(world.answer(newer).await, Enqueued::Replaced(first));
        assert_eq!(world.state(id).await, Place::Gone);
    }
    let held = world.claim(worker, 9).await;
    assert_eq!(crate::world::ids_of(&held), [first, behind]);
    let envelope = Envelope::decode(&held[0].bytes).unwrap();
    assert_eq!((envelope.id, &envelope.args[..]), (first, &b"\x02"[..]));
}

pub async fn a_replaced_task_moves_to_where_the_new_one_belongs(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let replace = async |priority: u8, start: Option<When>| {
        let envelope = Envelope {
            priority: Priority::new(priority),
            start,
            ..world.locked(replacing(1))
        };
        world.answer(envelope).await
    };
    let id = world.send_one(world.locked(replacing(1))).await;
    let plain = world.send_one(world.plain_beside(1)).await;
    let moves = [
        (5, Some(secs(10)), Place::Scheduled),
        (5, Some(secs(20)), Place::Scheduled),
        (9, None, Place::Ready),
        (1, None, Place::Ready),
        (1, Some(secs(5)), Place::Scheduled),
        (5, None, Place::Ready),
        (9, None, Place::Ready),
        (5, None, Place::Ready),
    ];
    for (priority, start, place) in moves {
        let answer = replace(priority, start.map(When::In)).await;
        assert_eq!(answer, Enqueued::Replaced(id));
        assert_eq!(world.state(id).await, place);
    }
    assert_eq!(world.claim_ids(worker, 9).await, [plain, id]);
    world.advance(secs(60));
    assert_eq!(world.claim_ids(worker, 9).await, []);
}

/// Nobody knows what it has done already; the new arguments are not taken, and the sender is told.
pub async fn a_running_task_is_not_replaced(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.locked(replacing(1))).await;
    let held = world.claim_one(worker).await;
    let answer = world.answer(world.locked(replacing(1))).await;
    assert_eq!(answer, Enqueued::Existing(id));
    // Given back, it waits again.
    world.settle_one(worker, &held, Verdict::Release).await;
    let newer = with_args(world.locked(replacing(1)), b"\x07");
    assert_eq!(world.answer(newer).await, Enqueued::Replaced(id));
    let held = world.claim_one(worker).await;
    assert_eq!(
        Envelope::decode(&held.bytes).unwrap().args,
        payload(b"\x07")
    );
    world.settle_one(worker, &held, done(None)).await;
    let answer = world.answer(world.locked(replacing(1))).await;
    assert_eq!(answer, Enqueued::New);
}

pub async fn a_replaced_retry_begins_anew(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    let id = world.send_one(world.locked(replacing(1))).await;
    world.claim_one(lost).await;
    world.lose_all_workers().await;
    let worker = world.worker().await;
    let held = world.claim_one(worker).await;
    assert_eq!(held.losses, 1);
    world
        .settle_one(worker, &held, Verdict::RetryIn(secs(5)))
        .await;
    let answer = world.answer(world.locked(replacing(1))).await;
    assert_eq!(answer, Enqueued::Replaced(id));
    let held = world.claim_one(worker).await;
    let attempts = Envelope::decode(&held.bytes).unwrap().attempts;
    assert_eq!((held.id, held.losses, attempts), (id, 0, 0));
}

pub async fn a_dead_letter_is_not_replaced(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let spans = Lock {
        until: Until::Elapsed(secs(10)),
        ..replacing(1)
    };
    let id = world.send_one(world.locked(spans)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    let answer = world.answer(world.locked(spans)).await;
    assert_eq!(answer, Enqueued::Existing(id));
    assert_eq!(world.state(id).await, Place::Dead);
}

pub async fn the_last_of_one_call_replaces_those_before_it(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let call: Vec<Envelope> = [&b"\x01"[..], b"\x02", b"\x03"]
        .map(|args| with_args(world.locked(replacing(1)), args))
        .to_vec();
    let id = call[0].id;
    let expected = [
        Enqueued::New,
        Enqueued::Replaced(id),
        Enqueued::Replaced(id),
    ];
    assert_eq!(world.enqueue(call.clone()).await, expected);
    // Again, where it is there already.
    let again: Vec<Envelope> = call[1..].iter().rev().cloned().collect();
    assert_eq!(world.enqueue(again).await, [Enqueued::Replaced(id); 2]);
    let held = world.claim(worker, 9).await;
    assert_eq!(held.len(), 1);
    let args = Envelope::decode(&held[0].bytes).unwrap().args;
    assert_eq!(args, payload(b"\x02"));
}

pub async fn replacing_takes_no_room(harness: impl Harness) {
    let world = World::start(harness).await;
    let id = world.send_one(world.locked(replacing(1))).await;
    world.bound(Some(1)).await;
    let answer = world.answer(world.locked(replacing(1))).await;
    assert_eq!(answer, Enqueued::Replaced(id));
    // Of a call that is refused, nothing is done.
    let call = encode(&[
        with_args(world.locked(replacing(1)), b"\x05"),
        world.plain_beside(1),
    ]);
    assert!(world.broker.enqueue(&world.queue, call).await.is_err());
    let worker = world.patient_worker().await;
    let held = world.claim_one(worker).await;
    assert_eq!(
        Envelope::decode(&held.bytes).unwrap().args,
        payload(b"\xc0")
    );
}

pub async fn a_debounced_task_starts_its_span_after_the_last_send(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.locked(debounced(None))).await;
    for args in [&b"\x01"[..], b"\x02", b"\x03"] {
        world.advance(secs(9));
        assert_eq!(world.claim_ids(worker, 9).await, []);
        let newer = with_args(world.locked(debounced(None)), args);
        assert_eq!(world.answer(newer).await, Enqueued::Replaced(id));
    }
    world.advance(almost(secs(10)));
    assert_eq!(world.claim_ids(worker, 9).await, []);
    world.advance(ms(1));
    let held = world.claim_one(worker).await;
    assert_eq!(held.id, id);
    assert_eq!(
        Envelope::decode(&held.bytes).unwrap().args,
        payload(b"\x03")
    );
    // It has begun: the next one waits for a silence of its own.
    world.send_one(world.locked(debounced(None))).await;
}

pub async fn a_debounced_task_starts_after_its_longest_wait(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.locked(debounced(Some(25)))).await;
    for _ in 0..3 {
        world.advance(secs(8));
        let answer = world.answer(world.locked(debounced(Some(25)))).await;
        assert_eq!(answer, Enqueued::Replaced(id));
    }
    assert_eq!(world.claim_ids(worker, 9).await, []);
    world.advance(secs(1));
    // While no worker has time for it, it is not put off again.
    let answer = world.answer(world.locked(debounced(Some(25)))).await;
    assert_eq!(answer, Enqueued::Replaced(id));
    assert_eq!(world.claim_ids(worker, 9).await, [id]);
}

pub async fn a_throttled_key_lets_one_in_a_span(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let refused = async || world.answer(world.locked(throttled())).await;
    for _ in 0..3 {
        let id = world.send_one(world.locked(throttled())).await;
        assert_eq!(refused().await, Enqueued::Existing(id));
        let held = world.claim_one(worker).await;
        world.settle_one(worker, &held, done(None)).await;
        assert_eq!(refused().await, Enqueued::Existing(id));
        world.advance(almost(secs(10)));
        assert_eq!(refused().await, Enqueued::Existing(id));
        world.advance(ms(1));
    }
}

pub async fn a_throttled_task_cancelled_before_a_worker_took_it_does_not_count(
    harness: impl Harness,
) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.locked(throttled())).await;
    let cancelled = world.broker.cancel(&world.queue, id).await.unwrap();
    assert_eq!(cancelled, Cancelled::Removed);
    let id = world.send_one(world.locked(throttled())).await;
    let held = world.claim_one(worker).await;
    world
        .settle_one(worker, &held, Verdict::RetryIn(secs(1)))
        .await;
    world.broker.cancel(&world.queue, id).await.unwrap();
    let answer = world.answer(world.locked(throttled())).await;
    assert_eq!(answer, Enqueued::Existing(id));
}
