//! What holds of the lead: one beat has it, by a lease with an epoch.

use lovage_core::{BeatId, Lead, Leader, Schedules, ms, secs};

use crate::world::{BEAT_LEASE, almost, held};
use crate::{Harness, World};

async fn leader<H: Harness>(world: &World<H>) -> Option<Leader> {
    world.broker.leader().await.unwrap()
}

/// Guarantee of the lead: whoever else asks is told who has it, and for how long.
pub async fn one_beat_leads_at_a_time(harness: impl Harness) {
    let world = World::start(harness).await;
    let (first, second) = (BeatId::random(), BeatId::random());
    let epoch = world.hold(first).await.epoch;
    world.advance(secs(2));
    let expected = Leader {
        beat: first,
        epoch,
        ends_in: secs(3),
    };
    assert_eq!(world.lead(second).await, Lead::Standby(expected));
    assert_eq!(world.hold(first).await.epoch, epoch);
}

pub async fn of_many_that_ask_at_once_one_leads(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let broker = world.broker.clone();
        asking.spawn(async move {
            let one = std::num::NonZeroU16::MIN;
            broker.lead(BeatId::random(), BEAT_LEASE, one).await
        });
    }
    let answers = asking.join_all().await;
    let leads = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Lead::Held(_))));
    assert_eq!(leads.count(), 1);
}

pub async fn a_leader_keeps_its_epoch_by_renewing(harness: impl Harness) {
    let world = World::start(harness).await;
    let (leader, other) = (BeatId::random(), BeatId::random());
    let epoch = world.hold(leader).await.epoch;
    for _ in 0..3 {
        world.advance(almost(BEAT_LEASE));
        assert_eq!(world.hold(leader).await.epoch, epoch);
    }
    world.advance(almost(BEAT_LEASE));
    assert!(matches!(world.lead(other).await, Lead::Standby(_)));
}

pub async fn a_lease_that_has_ended_is_for_the_first_who_asks(harness: impl Harness) {
    let world = World::start(harness).await;
    let (first, second, third) = (BeatId::random(), BeatId::random(), BeatId::random());
    world.hold(first).await;
    world.advance(almost(BEAT_LEASE));
    assert!(matches!(world.lead(second).await, Lead::Standby(_)));
    world.advance(ms(1));
    let epoch = world.hold(second).await.epoch;
    for beat in [first, third] {
        let expected = Leader {
            beat: second,
            epoch,
            ends_in: BEAT_LEASE,
        };
        assert_eq!(world.lead(beat).await, Lead::Standby(expected));
    }
}

/// A leader that was held up longer than its lease, and that nobody missed, is no new one.
pub async fn a_lapsed_lease_is_kept_if_nobody_took_it(harness: impl Harness) {
    let world = World::start(harness).await;
    let (leader, other) = (BeatId::random(), BeatId::random());
    let epoch = world.hold(leader).await.epoch;
    world.advance(BEAT_LEASE * 100);
    assert_eq!(world.hold(leader).await.epoch, epoch);
    assert!(matches!(world.lead(other).await, Lead::Standby(_)));
}

pub async fn a_new_leader_has_a_higher_epoch(harness: impl Harness) {
    let world = World::start(harness).await;
    let beats = [BeatId::random(), BeatId::random()];
    let mut last = world.hold(beats[1]).await.epoch;
    // By an ended lease, by a resignation, and where the former leader comes back.
    for (turn, beat) in beats.iter().cycle().take(6).enumerate() {
        if turn % 2 == 0 {
            world.advance(BEAT_LEASE);
        } else {
            world.resign(beats[0]).await;
        }
        let epoch = world.hold(*beat).await.epoch;
        assert!(last < epoch, "epoch {epoch} came after {last}");
        last = epoch;
    }
    world.resign(beats[1]).await;
    assert!(last < world.hold(beats[1]).await.epoch);
}

pub async fn a_lease_lasts_as_long_as_was_asked_for(harness: impl Harness) {
    let world = World::start(harness).await;
    let (first, second) = (BeatId::random(), BeatId::random());
    for lease in [ms(1), secs(1), secs(60)] {
        held(world.lead_for(first, lease, 1).await);
        world.advance(almost(lease));
        let Lead::Standby(leader) = world.lead(second).await else {
            panic!("a lease of {lease:?} has not ended");
        };
        assert_eq!(leader.ends_in, ms(1));
    }
}

pub async fn a_resigned_lead_is_free_at_once(harness: impl Harness) {
    let world = World::start(harness).await;
    let (first, second) = (BeatId::random(), BeatId::random());
    world.hold(first).await;
    world.resign(first).await;
    assert_eq!(leader(&world).await, None);
    world.hold(second).await;
    assert!(matches!(world.lead(first).await, Lead::Standby(_)));
}

pub async fn nobody_resigns_for_another(harness: impl Harness) {
    let world = World::start(harness).await;
    let (leads, stands_by) = (BeatId::random(), BeatId::random());
    world.resign(stands_by).await;
    let epoch = world.hold(leads).await.epoch;
    world.resign(stands_by).await;
    assert!(matches!(world.lead(stands_by).await, Lead::Standby(_)));
    assert_eq!(world.hold(leads).await.epoch, epoch);
}

pub async fn who_leads_can_be_asked(harness: impl Harness) {
    let world = World::start(harness).await;
    assert_eq!(leader(&world).await, None);
    let beat = BeatId::random();
    let epoch = world.hold(beat).await.epoch;
    for (passes, left) in [(0, 5), (2, 3), (3, 0), (60, 0)] {
        world.advance(secs(passes));
        let expected = Leader {
            beat,
            epoch,
            ends_in: secs(left),
        };
        assert_eq!(leader(&world).await, Some(expected));
    }
}
