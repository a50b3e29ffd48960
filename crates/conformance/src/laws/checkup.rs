//! What holds when somebody looks whether all is in order: whatever verbs have done is.

use lovage_core::{
    CheckMode, Checkup, Control, DeadLetters, Diagnosis, Revived, Shelf, StoredFrom, Verdict, When,
    ms, secs,
};

use crate::world::{bury, done};
use crate::{Harness, World};

pub async fn whatever_verbs_have_done_is_in_order(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_in_order(&world).await;
    let worker = world.worker().await;
    let sent = world.send(8).await;
    world.send_one(world.prioritised(9)).await;
    let mut later = world.envelope();
    later.start = Some(When::In(secs(60)));
    world.send_one(later).await;
    assert_in_order(&world).await;

    let held = world.claim(worker, 6).await;
    let verdicts = [
        done(Some(secs(60))),
        bury("broken"),
        Verdict::RetryIn(secs(5)),
        Verdict::Release,
        Verdict::Snooze(secs(5)),
    ];
    for (delivery, verdict) in held.iter().zip(verdicts) {
        world.settle_one(worker, delivery, verdict).await;
    }
    assert_in_order(&world).await;

    // Marked, taken from a ready list, and that one sent again.
    for id in [held[5].id, sent[7]] {
        world.broker.cancel(&world.queue, id).await.unwrap();
    }
    world.send_one(world.envelope_of(sent[7])).await;
    world.advance(ms(10));
    assert_in_order(&world).await;

    world.advance(secs(6));
    let letters = vec![held[1].id];
    let revived = world.broker.revive_many(&world.queue, letters).await;
    assert_eq!(revived.unwrap(), [Revived::Ready]);
    let other = world.worker().await;
    world.claim(other, 3).await;
    world.lose_all_workers().await;
    assert_in_order(&world).await;
}

/// Every id that stands anywhere is sound, and the sums agree.
async fn assert_in_order<H: Harness>(world: &World<H>) {
    let mut from = Some(StoredFrom::default());
    while let Some(at) = from {
        let page = world.broker.stored(at).await.unwrap();
        assert_eq!(page.unknown, [""; 0]);
        for queue in page.queues {
            let mut shelves: Vec<Shelf> = (0..10).map(Shelf::Ready).collect();
            shelves.extend([Shelf::Tasks, Shelf::Scheduled, Shelf::Dead, Shelf::Facts]);
            shelves.extend([
                Shelf::Reasons,
                Shelf::Waiting,
                Shelf::Cancels,
                Shelf::Ghosts,
            ]);
            for shelf in shelves {
                let ids = world.broker.shelf(&queue, shelf, 0).await.unwrap().found;
                for id in ids {
                    let census = world.broker.census(&queue, &[id], &[], true).await.unwrap();
                    let sound = census[0].diagnose() == Diagnosis::Sound;
                    assert!(sound, "in {shelf:?} of {queue}: {census:?}");
                }
            }
            let books = world
                .broker
                .books(&queue, &[], CheckMode::Look)
                .await
                .unwrap();
            assert_eq!(books.placed, Some(books.stored), "{queue}");
            assert_eq!(books.dead_bytes, Some(books.dead_bytes_said), "{queue}");
            assert_eq!(
                (books.unused.as_str(), books.stray_leases),
                ("", Some(Vec::new()))
            );
        }
        from = page.next;
    }
}
