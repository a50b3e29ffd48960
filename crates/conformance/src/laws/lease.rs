//! What holds for identities and their leases.

use lovage_core::{
    Broker, Claim, Control, Membership, Place, Renewal, Verdict, WorkerId, hours, ms, secs,
};

use crate::world::{almost, done, queue};
use crate::{Harness, LEASE, PATIENCE, World};

async fn renew<H: Harness>(world: &World<H>, worker: WorkerId) -> Renewal {
    let renewal = world.broker.renew(worker, &world.queue, LEASE).await;
    renewal.unwrap()
}

fn held() -> Renewal {
    Renewal::Held { cancelled: vec![] }
}

pub async fn a_renewed_lease_lasts_from_the_renewal_on(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    for _ in 0..3 {
        world.advance(almost(LEASE));
        assert_eq!(renew(&world, worker).await, held());
    }
    world.advance(almost(LEASE));
    assert!(matches!(
        world.try_claim(worker, 1).await,
        Claim::Granted(_)
    ));
    world.advance(ms(1));
    assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
}

pub async fn a_renewed_lease_lasts_from_the_renewal_on_though_the_clock_was_set_back(
    harness: impl Harness,
) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.set_back(hours(1));
    assert_eq!(renew(&world, worker).await, held());
    world.advance(almost(LEASE));
    assert!(matches!(
        world.try_claim(worker, 1).await,
        Claim::Granted(_)
    ));
    world.advance(ms(1));
    assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
}

pub async fn a_lapsed_lease_may_be_renewed_until_recovery(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(2).await;
    let first = world.claim_one(worker).await;
    world.advance(LEASE * 10);
    world.recover().await;
    assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
    assert_eq!(renew(&world, worker).await, held());
    world.claim_one(worker).await;
    world.settle_one(worker, &first, done(None)).await;
}

pub async fn an_identity_that_was_never_registered_is_lost(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(renew(&world, WorkerId::random()).await, Renewal::Lost);
}

/// Even one that held nothing: its process takes a new identity.
pub async fn a_recovered_identity_is_dead_for_good(harness: impl Harness) {
    let world = World::start(harness).await;
    let (idle, busy) = (world.worker().await, world.worker().await);
    world.send(2).await;
    world.claim_one(busy).await;
    world.lose_all_workers().await;
    for _ in 0..2 {
        for worker in [idle, busy] {
            assert_eq!(renew(&world, worker).await, Renewal::Lost);
            assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
            let held = world.broker.holdings(worker, &world.queue).await;
            assert_eq!(held.unwrap(), []);
        }
        world.advance(PATIENCE);
        world.recover().await;
    }
}

pub async fn a_retired_identity_is_known_no_more(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    assert!(world.broker.retire(worker, &world.queue).await.unwrap());
    assert_eq!(renew(&world, worker).await, Renewal::Lost);
    assert_eq!(world.try_claim(worker, 1).await, Claim::NoLease);
}

/// Its tasks would be in a list that nobody watches.
pub async fn an_identity_that_holds_tasks_does_not_retire(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(2).await;
    let first = world.claim_one(worker).await;
    assert!(!world.broker.retire(worker, &world.queue).await.unwrap());
    let second = world.claim_one(worker).await;
    world
        .settle(worker, &[first, second], Verdict::Release)
        .await;
    assert!(world.broker.retire(worker, &world.queue).await.unwrap());
    assert_eq!(world.state(sent[0]).await, Place::Ready);
}

pub async fn a_lease_is_good_in_its_queue_alone(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let elsewhere = queue("reports");
    let one = std::num::NonZeroU16::MIN;
    let claim = world.broker.claim(worker, &elsewhere, one).await.unwrap();
    assert_eq!(claim, Claim::NoLease);
    let renewal = world.broker.renew(worker, &elsewhere, LEASE).await.unwrap();
    assert_eq!(renewal, Renewal::Lost);
}

pub async fn a_renewal_names_the_cancelled_tasks_that_are_held(harness: impl Harness) {
    let world = World::start(harness).await;
    let (worker, other) = (world.worker().await, world.worker().await);
    let sent = world.send(3).await;
    let deliveries = world.claim(worker, 2).await;
    world.claim(other, 1).await;
    for id in &sent[1..] {
        world.broker.cancel(&world.queue, *id).await.unwrap();
    }
    let cancelled = vec![sent[1]];
    // As long as it is held: a worker may have missed the first answer.
    for _ in 0..2 {
        let expected = Renewal::Held {
            cancelled: cancelled.clone(),
        };
        assert_eq!(renew(&world, worker).await, expected);
    }
    world.settle(worker, &deliveries, done(None)).await;
    assert_eq!(renew(&world, worker).await, held());
}

pub async fn a_renewal_names_at_most_a_hundred_tasks(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(130).await;
    let mut deliveries = world.claim(worker, 130).await;
    for id in sent {
        world.broker.cancel(&world.queue, id).await.unwrap();
    }
    let Renewal::Held { cancelled } = renew(&world, worker).await else {
        panic!("the lease is good");
    };
    assert_eq!(cancelled.len(), 100);
    deliveries.retain(|delivery| cancelled.contains(&delivery.id));
    assert_eq!(deliveries.len(), 100);
    world.settle(worker, &deliveries, Verdict::Release).await;
    let Renewal::Held { cancelled } = renew(&world, worker).await else {
        panic!("the lease is good");
    };
    assert_eq!(cancelled.len(), 30);
}

pub async fn holdings_are_what_was_claimed_and_not_settled(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    world.send(5).await;
    let mut deliveries = world.claim(worker, 2).await;
    deliveries.extend(world.claim(worker, 2).await);
    let settled = deliveries.remove(1);
    world.settle_one(worker, &settled, done(None)).await;
    let mut held = world.broker.holdings(worker, &world.queue).await.unwrap();
    held.sort_unstable_by_key(|(id, _)| *id);
    let mut expected: Vec<_> = deliveries.iter().map(|d| (d.id, d.fence)).collect();
    expected.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(held, expected);
}

pub async fn a_separate_handle_sees_the_same_data(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let separate = world.broker.separate().await.unwrap();
    world.advance(almost(LEASE));
    let renewal = separate.renew(worker, &world.queue, LEASE).await.unwrap();
    assert_eq!(renewal, held());
    world.advance(secs(2));
    assert_eq!(world.claim_ids(worker, 1).await, sent);
}
