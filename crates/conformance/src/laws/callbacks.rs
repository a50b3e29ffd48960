//! What holds of tasks that name whom to call when they have failed for good.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use lovage_core::{
    Ack, Callback, Callbacks, Control, Envelope, FailureKind, Inspect, LOSSES_MAX, Membership,
    Owed, Place, Priority, Retention, Revived, TaskId, TaskName, Verdict, WorkerId, secs,
};

use crate::world::{bury, done, queue};
use crate::{Harness, PATIENCE, World};

fn calling<H: Harness>(world: &World<H>) -> Envelope {
    Envelope {
        on_failure: Some(Callback {
            task: TaskName::parse("report").unwrap(),
            queue: queue("ops"),
            priority: Priority::default(),
            ack: Ack::Late,
            on_failure: None,
        }),
        ..world.envelope()
    }
}

async fn owed<H: Harness>(world: &World<H>, max: u16) -> Vec<Owed> {
    let max = NonZeroU16::new(max).unwrap();
    let owed = world.broker.owed(&world.queue, max, PATIENCE).await;
    owed.unwrap()
}

async fn owed_ids<H: Harness>(world: &World<H>) -> Vec<TaskId> {
    let owed = owed(world, 100).await;
    owed.iter().map(|owed| owed.letter.id).collect()
}

async fn called_back<H: Harness>(world: &World<H>, owed: &Owed) {
    let deaths = vec![(owed.letter.id, owed.letter.died_at)];
    let noted = world.broker.called_back(&world.queue, deaths).await;
    noted.unwrap();
}

/// Sends one that calls back and buries it.
async fn buried<H: Harness>(world: &World<H>, worker: WorkerId) -> TaskId {
    let id = world.send_one(calling(world)).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    id
}

pub async fn a_buried_task_owes_its_callback_until_it_was_called_back(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = buried(&world, worker).await;
    let shown = owed(&world, 100).await;
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    assert_eq!((shown[0].letter.id, &shown[0].letter), (id, &letters[0]));
    assert_eq!((shown.len(), shown[0].losses), (1, 0));
    let callback = shown[0].callback().unwrap();
    assert_eq!(
        (callback.task.as_str(), &callback.queue),
        ("report", &queue("ops"))
    );
    called_back(&world, &shown[0]).await;
    world.advance(PATIENCE);
    assert_eq!(owed_ids(&world).await, []);
}

pub async fn only_a_task_that_names_a_callback_and_has_died_owes_one(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for verdict in [
        done(None),
        Verdict::RetryIn(secs(60)),
        Verdict::Snooze(secs(60)),
        Verdict::Park(secs(60)),
    ] {
        world.send_one(calling(&world)).await;
        let delivery = world.claim_one(worker).await;
        world.settle_one(worker, &delivery, verdict).await;
    }
    world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    assert_eq!(owed_ids(&world).await, []);
}

/// A queue that was full, or one of its partitions, took some of what was sent.
pub async fn of_what_was_shown_only_what_was_called_back_is_owed_no_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..3 {
        buried(&world, worker).await;
    }
    let shown = owed(&world, 100).await;
    called_back(&world, &shown[1]).await;
    world.advance(PATIENCE);
    // In any order: partitions take turns.
    let rest: BTreeSet<TaskId> = [shown[0].letter.id, shown[2].letter.id].into();
    assert_eq!(BTreeSet::from_iter(owed_ids(&world).await), rest);
}

/// Two that look at once do not both send.
pub async fn what_one_was_shown_is_shown_to_others_after_a_while(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = buried(&world, worker).await;
    assert_eq!(owed_ids(&world).await, [id]);
    assert_eq!(owed_ids(&world).await, []);
    assert!(!world.recover().await.callbacks);
    world.advance(PATIENCE);
    assert!(world.recover().await.callbacks);
    assert_eq!(owed_ids(&world).await, [id]);
}

pub async fn a_callback_is_owed_whoever_buries_the_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut once = calling(&world);
    once.ack = Ack::Early;
    let (poison, once) = (
        world.send_one(calling(&world)).await,
        world.send_one(once).await,
    );
    for _ in 0..LOSSES_MAX {
        let worker = world.worker().await;
        world.claim(worker, 2).await;
        world.lose_all_workers().await;
    }
    let mut shown = owed(&world, 100).await;
    shown.sort_by_key(|owed| owed.losses);
    let told = shown.iter().map(|owed| {
        let (letter, run) = (&owed.letter, owed.letter.failure.run.as_ref().unwrap());
        (
            letter.id,
            letter.failure.kind,
            owed.losses,
            run.losses,
            run.attempt,
        )
    });
    let told: Vec<_> = told.collect();
    let kinds = (FailureKind::Abandoned, FailureKind::Lost);
    // Facts of an at-most-once task are not kept: its one loss is in the record.
    assert_eq!(told[0].0, once);
    assert_eq!(
        (told[0].1, told[0].3, told[0].4),
        (kinds.0, Some(1), Some(1))
    );
    assert_eq!(
        told[1],
        (poison, kinds.1, LOSSES_MAX, Some(LOSSES_MAX), Some(1))
    );
}

pub async fn a_task_that_was_revived_or_cancelled_owes_no_callback(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let revived = buried(&world, worker).await;
    let answer = world.broker.revive(&world.queue, revived).await;
    assert_eq!(answer.unwrap(), Revived::Ready);
    let delivery = world.claim_one(worker).await;
    let cancelled = buried(&world, worker).await;
    world.broker.cancel(&world.queue, cancelled).await.unwrap();
    assert_eq!(owed_ids(&world).await, []);
    // It fails once more, and that is another death.
    world.settle_one(worker, &delivery, bury("again")).await;
    assert_eq!(owed_ids(&world).await, [revived]);
}

/// Its first death was called back by somebody slow, after it had died again.
pub async fn a_late_note_does_not_settle_another_death(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let id = buried(&world, worker).await;
    let first = owed(&world, 1).await.remove(0);
    world.broker.revive(&world.queue, id).await.unwrap();
    world.advance(secs(1));
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("again")).await;
    called_back(&world, &first).await;
    let second = owed(&world, 1).await.remove(0);
    assert_ne!(second.callback().unwrap().id, first.callback().unwrap().id);
    called_back(&world, &second).await;
    world.advance(PATIENCE);
    assert_eq!(owed_ids(&world).await, []);
}

pub async fn callbacks_are_shown_those_first_that_have_waited_longest(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(buried(&world, worker).await);
        world.advance(secs(1));
    }
    let first = owed(&world, 2).await;
    let rest = owed(&world, 2).await;
    let shown = [&first[..], &rest[..]].concat();
    let ids: Vec<TaskId> = shown.iter().map(|owed| owed.letter.id).collect();
    assert_eq!((first.len(), ids), (2, dead));
}

/// Nobody could be called back for a letter that is not there.
pub async fn retention_keeps_a_letter_until_it_was_called_back_for(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let none = Retention {
        count: Some(0),
        ..Retention::default()
    };
    world.broker.retain(&world.queue, none).await.unwrap();
    let id = buried(&world, worker).await;
    assert_eq!(world.state(id).await, Place::Dead);
    let shown = owed(&world, 1).await.remove(0);
    called_back(&world, &shown).await;
    world.recover().await;
    assert_eq!(world.state(id).await, Place::Gone);
}
