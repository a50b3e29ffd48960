//! What holds for dead letters when somebody looks after them, and when a queue keeps only so many.

use lovage_core::{
    BATCH_MAX, Broker, Control, Cut, DeadLetters, DeadLettersSummary, Edit, Envelope, Inspect,
    Membership, Place, Priority, Purged, Retention, Revived, TaskId, When, ms, secs,
};

use crate::world::{almost, bury, done, id, settle_down, soon};
use crate::{Harness, World};

/// Buries so many tasks, a millisecond apart.
async fn buried<H: Harness>(world: &World<H>, count: usize) -> Vec<TaskId> {
    let worker = world.worker().await;
    let sent = world.send(count).await;
    for delivery in world.claim(worker, 100).await {
        world.advance(ms(1));
        world.settle_one(worker, &delivery, bury("broken")).await;
    }
    sent
}

async fn summary<H: Harness>(world: &World<H>) -> DeadLettersSummary {
    let looked = world.broker.dead_letters_summary(&world.queue).await;
    looked.unwrap()
}

async fn retain<H: Harness>(world: &World<H>, retention: Retention) {
    let kept = world.broker.retain(&world.queue, retention).await;
    kept.unwrap();
}

async fn dead<H: Harness>(world: &World<H>) -> Vec<TaskId> {
    let letters = world.broker.dead_letters(&world.queue, 0, 1000).await;
    letters.unwrap().iter().map(|letter| letter.id).collect()
}

/// The bytes by the queue's account are those of the letters that are there.
async fn assert_bytes_are_those_of_the_letters<H: Harness>(world: &World<H>) {
    let letters = world.broker.dead_letters(&world.queue, 0, 1000).await;
    let sum: u64 = letters.unwrap().iter().map(|letter| letter.size).sum();
    assert_eq!(summary(world).await.bytes, sum);
}

pub async fn a_dead_letter_is_found_by_its_id(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 2).await;
    let found = world.broker.dead_letter(&world.queue, sent[1]).await;
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!(found.unwrap(), Some(letters[1].clone()));
    let alive = world.send(1).await[0];
    for id in [alive, TaskId::random()] {
        let found = world.broker.dead_letter(&world.queue, id).await.unwrap();
        assert_eq!(found, None);
    }
}

pub async fn many_dead_letters_are_revived_in_one_call(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 4).await;
    let asked = vec![sent[2], TaskId::random(), sent[0], sent[2]];
    let revived = world.broker.revive_many(&world.queue, asked).await.unwrap();
    let (ready, not_dead) = (Revived::Ready, Revived::NotDead);
    assert_eq!(revived, [ready, not_dead, ready, not_dead]);
    assert_eq!(dead(&world).await, [sent[1], sent[3]]);
    let worker = world.worker().await;
    assert_eq!(world.claim_ids(worker, 9).await, [sent[2], sent[0]]);
    assert_bytes_are_those_of_the_letters(&world).await;
    let too_many = vec![id(1); BATCH_MAX + 1];
    assert!(
        world
            .broker
            .revive_many(&world.queue, too_many)
            .await
            .is_err()
    );
}

pub async fn many_large_dead_letters_are_revived_in_one_call(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let args = [b"\xc6\x00\x30\x00\x00".as_slice(), &vec![0; 3 << 20]].concat();
    let mut sent = Vec::new();
    for _ in 0..4 {
        let large = Envelope {
            args: args.clone().into(),
            ..world.envelope()
        };
        sent.push(world.send_one(large).await);
        let delivery = world.claim_one(worker).await;
        world.settle_one(worker, &delivery, bury("broken")).await;
    }
    let revived = world.broker.revive_many(&world.queue, sent.clone()).await;
    assert_eq!(revived.unwrap(), [Revived::Ready; 4]);
    for id in sent {
        assert_eq!(world.claim_one(worker).await.id, id);
    }
    assert_eq!(summary(&world).await.bytes, 0);
}

pub async fn a_dead_letter_can_be_revived_with_another_envelope(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 2).await;
    let letter = world.broker.dead_letter(&world.queue, sent[0]).await;
    let letter = letter.unwrap().unwrap();
    let envelope = Envelope::decode(&letter.bytes).unwrap();
    let edit = Edit::new().args(b"\x07".as_slice().into());
    let edit = edit.options(lovage_core::TaskOptions::new().priority(8));
    let other = edit.apply(envelope).unwrap();
    let revived = world
        .broker
        .revive_edited(&world.queue, letter.died_at, other.clone());
    assert_eq!(revived.await.unwrap(), Revived::Ready);
    let again = world
        .broker
        .revive_edited(&world.queue, letter.died_at, other);
    assert_eq!(again.await.unwrap(), Revived::NotDead);
    assert_bytes_are_those_of_the_letters(&world).await;

    let worker = world.worker().await;
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let envelope = Envelope::decode(&delivery.bytes).unwrap();
    assert_eq!(delivery.id, sent[0]);
    assert_eq!((envelope.attempts, delivery.losses), (0, 0));
    assert_eq!(&envelope.args[..], b"\x07");
    assert_eq!(envelope.priority, Priority::new(8));
}

/// Somebody else revived it meanwhile, and it died again: that is not what was read and edited.
pub async fn an_edit_of_an_earlier_death_changes_nothing(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 1).await;
    let first = world.broker.dead_letter(&world.queue, sent[0]).await;
    let first = first.unwrap().unwrap();
    world.broker.revive(&world.queue, sent[0]).await.unwrap();
    let worker = world.worker().await;
    let delivery = world.claim_one(worker).await;
    world.advance(ms(1));
    world.settle_one(worker, &delivery, bury("broken")).await;

    let other = Edit::new().apply(Envelope::decode(&first.bytes).unwrap());
    let revived = world
        .broker
        .revive_edited(&world.queue, first.died_at, other.unwrap());
    assert_eq!(revived.await.unwrap(), Revived::NotDead);
    assert_eq!(world.state(sent[0]).await, Place::Dead);
}

pub async fn an_edited_task_may_start_later(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 1).await;
    let letter = world.broker.dead_letter(&world.queue, sent[0]).await;
    let letter = letter.unwrap().unwrap();
    let edit = Edit::new().start(When::In(secs(3)));
    let other = edit.apply(Envelope::decode(&letter.bytes).unwrap());
    let revived = world
        .broker
        .revive_edited(&world.queue, letter.died_at, other.unwrap());
    assert_eq!(revived.await.unwrap(), Revived::Ready);
    assert_eq!(world.state(sent[0]).await, Place::Scheduled);
    let worker = world.worker().await;
    assert_eq!(world.claim(worker, 1).await, []);
    world.advance(secs(3));
    assert_eq!(world.claim_ids(worker, 1).await, sent);
}

pub async fn an_edited_task_wakes_an_idle_worker(harness: impl Harness) {
    let world = World::start_on_the_real_clock(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    let letter = world.broker.dead_letter(&world.queue, sent[0]).await;
    let letter = letter.unwrap().unwrap();
    let other = Edit::new().apply(Envelope::decode(&letter.bytes).unwrap());
    // What earlier calls rang is taken first.
    let _ = world.broker.wait(&world.queue, ms(1)).await;
    let (broker, queue) = (world.broker.clone(), world.queue.clone());
    let wait = tokio::spawn(async move { broker.wait(&queue, crate::world::LONG).await });
    settle_down().await;
    let revived = world
        .broker
        .revive_edited(&world.queue, letter.died_at, other.unwrap());
    assert_eq!(revived.await.unwrap(), Revived::Ready);
    soon("the wake-up", wait).await.unwrap().unwrap();
}

pub async fn a_purged_dead_letter_is_gone_and_its_id_is_free(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 3).await;
    let ready = world.send(1).await[0];
    let asked = vec![sent[1], ready, sent[1], TaskId::random()];
    let purged = world.broker.purge(&world.queue, asked).await.unwrap();
    assert_eq!(purged, [true, false, false, false]);
    assert_eq!(dead(&world).await, [sent[0], sent[2]]);
    assert_eq!(world.state(sent[1]).await, Place::Gone);
    assert_eq!(world.outcome(sent[1]).await, None);
    assert_eq!(world.state(ready).await, Place::Ready);
    assert_bytes_are_those_of_the_letters(&world).await;
    world.send_one(world.envelope_of(sent[1])).await;
}

pub async fn dead_letters_of_an_age_are_purged_and_no_others(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 4).await;
    world.advance(ms(1));
    let purged = world.broker.purge_older(&world.queue, ms(3)).await.unwrap();
    let expected = Purged {
        count: 2,
        more: false,
    };
    assert_eq!(purged, expected);
    assert_eq!(dead(&world).await, sent[2..]);
    assert_bytes_are_those_of_the_letters(&world).await;
    let all = world.broker.purge_older(&world.queue, secs(0)).await;
    assert_eq!(all.unwrap().count, 2);
    assert_eq!(summary(&world).await.bytes, 0);
}

pub async fn more_old_dead_letters_than_a_call_takes_are_purged_by_several(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..2 {
        world.send(600).await;
        let held = world.claim(worker, 1000).await;
        world.settle(worker, &held, bury("broken")).await;
    }
    let first = world.broker.purge_older(&world.queue, secs(0)).await;
    let first = first.unwrap();
    assert!(first.more && 0 < first.count, "{first:?}");
    let mut total = first.count;
    while total < 1200 {
        let next = world.broker.purge_older(&world.queue, secs(0)).await;
        total += next.unwrap().count;
    }
    assert_eq!(world.broker.counts(&world.queue).await.unwrap().dead, 0);
}

/// Nothing is cut unless somebody says so.
pub async fn a_queue_keeps_all_its_dead_letters_unless_told_otherwise(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 3).await;
    world.advance(lovage_core::hours(24 * 365));
    assert_eq!(world.recover().await.cut, Cut::default());
    assert_eq!(dead(&world).await, sent);
    let seen = summary(&world).await;
    assert_eq!((seen.count, seen.cut), (3, 0));
    assert_eq!(
        (seen.retention, seen.now),
        (Retention::default(), world.now())
    );
}

/// Guarantee `retention_cuts_only_what_it_counts`.
pub async fn retention_cuts_only_what_it_counts(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let kept = Retention {
        count: Some(2),
        ..Retention::default()
    };
    retain(&world, kept).await;
    let alive = Envelope {
        start: Some(When::In(secs(600))),
        ..world.envelope()
    };
    let alive = world.send_one(alive).await;
    let sent = world.send(5).await;
    let mut cut = Vec::new();
    for delivery in world.claim(worker, 5).await {
        world.advance(ms(1));
        let verdict = bury("broken");
        let settled = world.settle(worker, &[delivery], verdict).await;
        assert_eq!(settled.cut.total(), settled.cut.by_count);
        cut.extend(settled.cut.oldest);
    }
    assert_eq!(cut, sent[..3], "the oldest ones, each named");
    assert_eq!(dead(&world).await, sent[3..]);
    assert_eq!(world.state(sent[0]).await, Place::Gone);
    assert_eq!(world.state(alive).await, Place::Scheduled);
    let seen = summary(&world).await;
    assert_eq!((seen.count, seen.cut, seen.retention), (2, 3, kept));
    assert_bytes_are_those_of_the_letters(&world).await;
}

pub async fn a_batch_beyond_the_retention_is_cut_in_its_own_call(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let kept = Retention {
        count: Some(7),
        ..Retention::default()
    };
    retain(&world, kept).await;
    for round in 1..=2 {
        world.send(BATCH_MAX).await;
        let held = world.claim(worker, 1000).await;
        let settled = world.settle(worker, &held, bury("broken")).await;
        let cut = BATCH_MAX as u64 - if round == 1 { 7 } else { 0 };
        assert_eq!((settled.cut.by_count, settled.cut.total()), (cut, cut));
        assert_eq!(settled.cut.oldest.len(), lovage_core::CUT_SHOWN_MAX);
        assert_eq!(world.broker.counts(&world.queue).await.unwrap().dead, 7);
    }
    assert_eq!(summary(&world).await.cut, 2 * BATCH_MAX as u64 - 7);
    assert_bytes_are_those_of_the_letters(&world).await;
}

pub async fn dead_letters_are_cut_at_their_age_by_recovery(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 3).await;
    let kept = Retention {
        age: Some(secs(2)),
        ..Retention::default()
    };
    retain(&world, kept).await;
    world.advance(almost(secs(2)));
    let recovered = world.recover().await;
    assert_eq!((recovered.cut.by_age, recovered.more), (2, false));
    assert_eq!(recovered.cut.oldest, sent[..2]);
    assert_eq!(dead(&world).await, sent[2..]);
    assert_bytes_are_those_of_the_letters(&world).await;
}

pub async fn dead_letters_are_cut_where_no_worker_is_known_any_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 2).await;
    world.lose_all_workers().await;
    let kept = Retention {
        age: Some(secs(1)),
        ..Retention::default()
    };
    retain(&world, kept).await;
    world.advance(secs(2));
    assert_eq!(world.recover().await.cut.oldest, sent);
    assert_eq!(dead(&world).await, []);
}

pub async fn dead_letters_are_cut_down_to_their_bytes(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 4).await;
    let all = summary(&world).await.bytes;
    let each = world.broker.dead_letters(&world.queue, 0, 1).await.unwrap()[0].size;
    assert_eq!(all, 4 * each);
    for (bytes, left) in [(all, &sent[..]), (all - 1, &sent[1..]), (each, &sent[3..])] {
        let kept = Retention {
            bytes: Some(bytes),
            ..Retention::default()
        };
        retain(&world, kept).await;
        let cut = world.recover().await.cut;
        assert_eq!(cut.total(), cut.by_bytes);
        assert_eq!(dead(&world).await, left, "{bytes} bytes");
        assert_bytes_are_those_of_the_letters(&world).await;
    }
}

pub async fn recovery_cuts_a_bounded_number_a_call(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..3 {
        world.send(500).await;
        let held = world.claim(worker, 1000).await;
        world.settle(worker, &held, bury("broken")).await;
    }
    let kept = Retention {
        count: Some(0),
        ..Retention::default()
    };
    retain(&world, kept).await;
    let first = world.recover().await;
    assert!(first.more && 0 < first.cut.by_count, "{first:?}");
    let second = world.recover().await;
    assert_eq!(first.cut.by_count + second.cut.by_count, 1500);
    assert!(!second.more);
}

pub async fn a_retention_can_be_taken_away(harness: impl Harness) {
    let world = World::start(harness).await;
    let kept = Retention {
        count: Some(1),
        age: Some(secs(1)),
        bytes: Some(1 << 20),
    };
    retain(&world, kept).await;
    assert_eq!(summary(&world).await.retention, kept);
    retain(&world, Retention::default()).await;
    let sent = buried(&world, 3).await;
    world.advance(secs(9));
    assert_eq!(world.recover().await.cut, Cut::default());
    assert_eq!(dead(&world).await, sent);
}

pub async fn lost_tasks_count_towards_the_bytes(harness: impl Harness) {
    let world = World::start(harness).await;
    let once = Envelope {
        ack: lovage_core::Ack::Early,
        ..world.envelope()
    };
    world.send_one(once).await;
    let worker = world.worker().await;
    world.claim_one(worker).await;
    assert_eq!(world.lose_all_workers().await.buried, 1);
    assert_ne!(summary(&world).await.bytes, 0);
    assert_bytes_are_those_of_the_letters(&world).await;
}

pub async fn whatever_leaves_the_dead_is_counted_no_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let sent = buried(&world, 4).await;
    world.broker.revive(&world.queue, sent[0]).await.unwrap();
    assert_bytes_are_those_of_the_letters(&world).await;
    world.broker.cancel(&world.queue, sent[1]).await.unwrap();
    assert_bytes_are_those_of_the_letters(&world).await;
    let worker = world.worker().await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(dead(&world).await, sent[2..]);
    assert_bytes_are_those_of_the_letters(&world).await;
}
