//! What holds of the keys of unique tasks: one live task each, and none is left behind by whatever ends its task.

use std::collections::BTreeSet;

use lovage_core::{
    Ack, Amendment, Broker, Cancelled, Control, DeadLetters as _, EnqueueError, Enqueued, Envelope,
    LOSSES_MAX, Lock, Membership, Place, Revived, Schedules, TaskId, Until, Verdict, When,
    WorkerId, ms, secs,
};

use crate::world::{LONG, almost, bury, done, encode, lock, queue, storing};
use crate::{Harness, World};

impl<H: Harness> World<H> {
    /// A task that wants the key `n` until it has ended.
    pub(super) fn unique(&self, n: u8) -> Envelope {
        self.locked(lock(n))
    }

    /// A task with this lock.
    pub(super) fn locked(&self, lock: Lock) -> Envelope {
        let envelope = self.envelope();
        Envelope {
            // As a client does: in a partition of its own a task would not meet the others of its key.
            id: envelope.id.beside(lock.key.as_bytes()),
            unique: Some(lock),
            ..envelope
        }
    }

    /// A worker whose lease outlasts the law.
    pub(super) async fn patient_worker(&self) -> WorkerId {
        let worker = WorkerId::random();
        let registered = self.broker.register(worker, &self.queue, LONG).await;
        registered.expect("registering is answered");
        worker
    }

    /// A task without a lock, in the partition of the key `n` where the queue has several.
    pub(super) fn plain_beside(&self, n: u8) -> Envelope {
        self.envelope_of(TaskId::random().beside(lock(n).key.as_bytes()))
    }

    /// What is answered to one send.
    pub(super) async fn answer(&self, envelope: Envelope) -> Enqueued {
        self.enqueue(vec![envelope]).await[0]
    }

    /// Whether the key `n` is free: a task that is sent for a look is new, and taken back.
    pub(super) async fn is_free(&self, n: u8) -> bool {
        let look = self.unique(n);
        let id = look.id;
        let answer = self.answer(look).await;
        if answer == Enqueued::New {
            let cancelled = self.broker.cancel(&self.queue, id).await.unwrap();
            assert_eq!(cancelled, Cancelled::Removed);
        }
        answer == Enqueued::New
    }
}

fn until_start(n: u8) -> Lock {
    Lock {
        until: Until::Start,
        ..lock(n)
    }
}

pub async fn a_unique_key_has_one_live_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let first = world.send_one(world.unique(1)).await;
    let refused = async || world.answer(world.unique(1)).await;
    assert_eq!(refused().await, Enqueued::Existing(first));
    let held = world.claim_one(worker).await;
    assert_eq!(refused().await, Enqueued::Existing(first));
    world
        .settle_one(worker, &held, Verdict::RetryIn(secs(9)))
        .await;
    assert_eq!(refused().await, Enqueued::Existing(first));
    world.advance(secs(9));
    let held = world.claim_one(worker).await;
    world
        .settle_one(worker, &held, Verdict::Park(secs(1)))
        .await;
    assert_eq!(refused().await, Enqueued::Existing(first));
    world.advance(secs(1));
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, Verdict::Release).await;
    assert_eq!(refused().await, Enqueued::Existing(first));
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    let second = world.send_one(world.unique(1)).await;
    assert_eq!(world.claim_ids(worker, 9).await, [second]);
}

pub async fn a_task_that_is_not_stored_leaves_no_trace(harness: impl Harness) {
    let world = World::start(harness).await;
    let first = world.send_one(world.unique(1)).await;
    let other = world.unique(1);
    let id = other.id;
    assert_eq!(world.answer(other).await, Enqueued::Existing(first));
    assert_eq!(world.state(id).await, Place::Gone);
    let worker = world.patient_worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [first]);
}

pub async fn a_unique_task_sent_again_by_its_id_is_a_duplicate(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelope = world.unique(1);
    world.send_one(envelope.clone()).await;
    assert_eq!(world.answer(envelope.clone()).await, Enqueued::Duplicate);
    let twice = world.enqueue(vec![envelope.clone(), envelope]).await;
    assert_eq!(twice, [Enqueued::Duplicate; 2]);
}

pub async fn keys_do_not_hinder_each_other(harness: impl Harness) {
    let world = World::start(harness).await;
    world.send_one(world.unique(1)).await;
    world.send_one(world.unique(2)).await;
    world.send(1).await;
    let other = queue("reports");
    let elsewhere = world
        .broker
        .enqueue(&other, encode(&[world.unique(1)]))
        .await;
    assert_eq!(elsewhere.unwrap(), [Enqueued::New]);
}

pub async fn one_call_gives_a_key_to_its_first_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let envelopes: Vec<Envelope> = [1, 2, 1, 1, 2].map(|n| world.unique(n)).to_vec();
    let (first, second) = (envelopes[0].id, envelopes[1].id);
    let mut call = envelopes.clone();
    call.push(world.envelope());
    let expected = [
        Enqueued::New,
        Enqueued::New,
        Enqueued::Existing(first),
        Enqueued::Existing(first),
        Enqueued::Existing(second),
        Enqueued::New,
    ];
    let plain = call[5].id;
    // What stands there again is answered as before.
    call.push(call[2].clone());
    let answers = world.enqueue(call).await;
    assert_eq!(answers[..6], expected);
    assert_eq!(answers[6], Enqueued::Existing(first));
    let worker = world.patient_worker().await;
    let claimed: BTreeSet<TaskId> = world.claim_ids(worker, 9).await.into_iter().collect();
    assert_eq!(claimed, BTreeSet::from([first, second, plain]));
}

/// Two producers race on one key, and many: one wins, and all are told who.
pub async fn concurrent_sends_of_one_key_are_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (broker, queue) = (world.broker.clone(), world.queue.clone());
        let envelope = world.unique(1);
        sends.spawn(async move {
            let call = encode(std::slice::from_ref(&envelope));
            let answers = broker.enqueue(&queue, call).await;
            (answers.unwrap()[0], envelope.id)
        });
    }
    let answers = sends.join_all().await;
    let winners: Vec<TaskId> = answers
        .iter()
        .filter(|(answer, _)| *answer == Enqueued::New)
        .map(|(_, id)| *id)
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for (answer, id) in answers {
        assert_eq!(answer.id(id), winners[0]);
    }
    let worker = world.patient_worker().await;
    assert_eq!(world.claim_ids(worker, 100).await, winners);
}

pub async fn every_end_frees_the_key(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    for verdict in [done(None), done(Some(secs(9))), bury("broken")] {
        world.send_one(world.unique(1)).await;
        let held = world.claim_one(worker).await;
        assert!(!world.is_free(1).await);
        world.settle_one(worker, &held, verdict).await;
        assert!(world.is_free(1).await);
    }
}

/// Peers leave the lock of a deleted task behind until its time is over.
pub async fn a_cancelled_task_frees_its_key(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let later = Envelope {
        start: Some(When::In(secs(60))),
        ..world.unique(1)
    };
    for envelope in [world.unique(1), later] {
        let id = world.send_one(envelope).await;
        world.broker.cancel(&world.queue, id).await.unwrap();
        assert!(world.is_free(1).await);
    }
    // One that runs holds it until its run ends.
    let id = world.send_one(world.unique(1)).await;
    let held = world.claim_one(worker).await;
    world.broker.cancel(&world.queue, id).await.unwrap();
    assert!(!world.is_free(1).await);
    world.settle_one(worker, &held, Verdict::Release).await;
    assert!(world.is_free(1).await);
}

/// Peers leave the lock of a killed worker's task behind. Here the task runs again, and the key is held until it ends.
pub async fn a_lost_worker_leaves_no_key_behind(harness: impl Harness) {
    let world = World::start(harness).await;
    let id = world.send_one(world.unique(1)).await;
    for loss in 1..=LOSSES_MAX {
        let worker = world.worker().await;
        assert_eq!(world.claim_ids(worker, 9).await, [id]);
        assert!(!world.is_free(1).await);
        world.lose_all_workers().await;
        assert_eq!(world.is_free(1).await, loss == LOSSES_MAX);
    }
    assert_eq!(world.state(id).await, Place::Dead);
    for cancelled in [false, true] {
        let once = Envelope {
            ack: Ack::Early,
            ..world.unique(2)
        };
        let id = world.send_one(once).await;
        let worker = world.worker().await;
        world.claim(worker, 9).await;
        if cancelled {
            world.broker.cancel(&world.queue, id).await.unwrap();
        }
        assert!(!world.is_free(2).await);
        world.lose_all_workers().await;
        assert!(world.is_free(2).await);
    }
}

/// Recovery has given the task to another worker: what the first one says of it frees nothing.
pub async fn a_stale_verdict_frees_no_key(harness: impl Harness) {
    let world = World::start(harness).await;
    let lost = world.worker().await;
    world.send_one(world.unique(1)).await;
    let held = world.claim(lost, 9).await;
    world.lose_all_workers().await;
    let settled = world.settle(lost, &held, done(None)).await;
    assert_eq!(settled.stale.len(), 1);
    assert!(!world.is_free(1).await);
}

pub async fn a_dead_letter_takes_its_key_again_when_it_is_revived(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.unique(1)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;

    let other = world.send_one(world.unique(1)).await;
    let revive = async || world.broker.revive(&world.queue, id).await.unwrap();
    assert_eq!(revive().await, Revived::Held(other));
    assert_eq!(world.state(id).await, Place::Dead);
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;

    assert_eq!(revive().await, Revived::Ready);
    let refused = world.answer(world.unique(1)).await;
    assert_eq!(refused, Enqueued::Existing(id));
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, done(None)).await;
    assert!(world.is_free(1).await);
}

impl<H: Harness> World<H> {
    /// Revives the dead letter of this id with what `edit` makes of its envelope.
    pub(super) async fn revive_as(&self, id: TaskId, edit: impl FnOnce(&mut Envelope)) -> Revived {
        let letter = self.broker.dead_letter(&self.queue, id).await.unwrap();
        let letter = letter.expect("it is dead");
        let mut envelope = Envelope::decode(&letter.bytes).unwrap();
        edit(&mut envelope);
        let revived =
            self.broker
                .revive_edited(&self.queue, letter.died_at, encode(&[envelope]).remove(0));
        revived.await.unwrap()
    }
}

/// In a queue with partitions the keys 1 and 65 are in one.
pub async fn a_dead_letter_holds_the_key_of_its_new_envelope(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let elapsed = |n| Lock {
        until: Until::Elapsed(secs(60)),
        ..lock(n)
    };
    for (sent, edited) in [
        (Some(lock(1)), lock(65)),
        (None, lock(65)),
        (Some(until_start(1)), until_start(65)),
        (Some(elapsed(1)), lock(65)),
    ] {
        let envelope = match sent {
            Some(lock) => world.locked(lock),
            None => world.plain_beside(65),
        };
        let id = world.send_one(envelope).await;
        let held = world.claim_one(worker).await;
        world.settle_one(worker, &held, bury("broken")).await;

        let other = world.send_one(world.unique(65)).await;
        let revive = async || {
            let edit = |envelope: &mut Envelope| envelope.unique = Some(edited);
            world.revive_as(id, edit).await
        };
        assert_eq!(revive().await, Revived::Held(other), "{sent:?}");
        assert_eq!(world.state(id).await, Place::Dead);
        world.broker.cancel(&world.queue, other).await.unwrap();
        assert_eq!(revive().await, Revived::Ready, "{sent:?}");
        let refused = world.answer(world.unique(65)).await;
        assert_eq!(refused, Enqueued::Existing(id), "{sent:?}");
        // A span that began with the send goes on, whoever had the key.
        let was_for_a_span = sent == Some(elapsed(1));
        assert_eq!(world.is_free(1).await, !was_for_a_span);

        let held = world.claim_one(worker).await;
        world.settle_one(worker, &held, done(None)).await;
        assert!(world.is_free(65).await, "{sent:?}");
    }
    // Without a lock it holds nothing, and what was its key is anybody's.
    let id = world.send_one(world.unique(2)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    let other = world.send_one(world.unique(2)).await;
    let revived = world.revive_as(id, |envelope| envelope.unique = None).await;
    assert_eq!(revived, Revived::Ready);
    assert_eq!(
        BTreeSet::from_iter(world.claim_ids(worker, 9).await),
        BTreeSet::from([id, other])
    );
}

pub async fn an_edited_dead_letter_holds_its_key_from_its_start_on(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.unique(1)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    let revived = world.revive_as(id, |envelope| {
        envelope.start = Some(When::In(secs(30)));
        envelope.unique = Some(Lock {
            ttl: Some(secs(10)),
            ..lock(1)
        });
    });
    assert_eq!(revived.await, Revived::Ready);
    world.advance(almost(secs(40)));
    let refused = world.answer(world.unique(1)).await;
    assert_eq!(refused, Enqueued::Existing(id));
    world.advance(ms(1));
    assert!(world.is_free(1).await);
}

pub async fn a_cancelled_dead_letter_frees_nobodys_key(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let id = world.send_one(world.unique(1)).await;
    let held = world.claim_one(worker).await;
    world.settle_one(worker, &held, bury("broken")).await;
    world.send_one(world.unique(1)).await;
    world.broker.cancel(&world.queue, id).await.unwrap();
    assert!(!world.is_free(1).await);
}

pub async fn a_key_until_the_start_is_free_once_a_worker_has_the_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let first = world.send_one(world.locked(until_start(1))).await;
    let again = async || world.answer(world.locked(until_start(1))).await;
    assert_eq!(again().await, Enqueued::Existing(first));
    let held = world.claim_one(worker).await;
    assert_eq!(held.id, first);
    let second = world.send_one(world.locked(until_start(1))).await;
    // Back in the line, the first one does not take the key of the second.
    world.settle_one(worker, &held, Verdict::Release).await;
    assert_eq!(again().await, Enqueued::Existing(second));
    let held = world.claim_one(worker).await;
    assert_eq!(held.id, first);
    assert_eq!(again().await, Enqueued::Existing(second));
    world.settle_one(worker, &held, done(None)).await;
    assert_eq!(again().await, Enqueued::Existing(second));
    world.claim_one(worker).await;
    assert_eq!(again().await, Enqueued::New);
}

pub async fn a_key_with_an_end_is_free_after_it(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let ending = Lock {
        ttl: Some(secs(10)),
        ..lock(1)
    };
    let start = Some(When::In(secs(5)));
    let first = Envelope {
        start,
        ..world.locked(ending)
    };
    let first = world.send_one(first).await;
    world.advance(secs(5));
    let held = world.claim_one(worker).await;
    world.advance(almost(secs(10)));
    let answer = world.answer(world.locked(ending)).await;
    assert_eq!(answer, Enqueued::Existing(first));
    world.advance(ms(1));
    let second = world.send_one(world.locked(ending)).await;
    // The end of the first does not free what is the second's by now.
    world.settle_one(worker, &held, done(None)).await;
    let answer = world.answer(world.locked(ending)).await;
    assert_eq!(answer, Enqueued::Existing(second));
}

pub async fn a_key_without_an_end_is_held_however_long_its_task_lives(harness: impl Harness) {
    let world = World::start(harness).await;
    let first = world.send_one(world.unique(1)).await;
    for _ in 0..10 {
        world.advance(lovage_core::hours(10_000));
        let answer = world.answer(world.unique(1)).await;
        assert_eq!(answer, Enqueued::Existing(first));
    }
}

pub async fn a_refused_send_holds_no_key(harness: impl Harness) {
    let world = World::start(harness).await;
    world.bound(Some(1)).await;
    // Of a queue with partitions these are in one.
    let call = encode(&[world.unique(1), world.unique(65)]);
    let refused = world.broker.enqueue(&world.queue, call).await;
    assert!(
        matches!(refused, Err(EnqueueError::QueueFull { .. })),
        "{refused:?}"
    );
    assert!(world.is_free(1).await);
    // What is not stored takes no room.
    let first = world.send_one(world.unique(1)).await;
    let answer = world.answer(world.unique(1)).await;
    assert_eq!(answer, Enqueued::Existing(first));
}

/// What a schedule fires honours the key as well.
pub async fn a_forwarded_task_holds_its_key(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.patient_worker().await;
    let put_out = async |envelopes: Vec<Envelope>| {
        let sends = encode(&envelopes).into_iter();
        let amendment = Amendment {
            sends: sends.map(|task| (world.queue.clone(), task)).collect(),
            ..storing("sender", world.version("sender").await, None)
        };
        world.made(amendment).await;
        let waiting = world.outbox().await;
        let forwarded = world.forward(&waiting).await;
        let last = waiting.last().unwrap().number;
        world.broker.forwarded(&world.queue, last).await.unwrap();
        (forwarded.stored, forwarded.known)
    };
    let first = world.unique(1);
    let id = first.id;
    let call = vec![first, world.unique(1), world.envelope()];
    assert_eq!(put_out(call).await, (2, 1));
    assert_eq!(world.answer(world.unique(1)).await, Enqueued::Existing(id));
    assert_eq!(put_out(vec![world.unique(1)]).await, (0, 1));
    let held = world.claim(worker, 9).await;
    world.settle(worker, &held, done(None)).await;
    assert_eq!(put_out(vec![world.unique(1)]).await, (1, 0));
    assert!(!world.is_free(1).await);
}
