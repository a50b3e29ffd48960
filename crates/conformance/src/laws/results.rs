//! What holds for whoever waits for an outcome.

use std::time::Duration;

use lovage_core::{
    Ack, Awaited, Broker, Control, Envelope, FailureKind, LOSSES_MAX, Membership, Outcome, Results,
    Verdict, When, hours, ms, secs,
};

use crate::world::{bury, done, payload, soon};
use crate::{Harness, World};

fn the_value() -> Outcome {
    Outcome::Done(payload(b"\x2a"))
}

pub async fn a_kept_outcome_is_there_afterwards(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let verdict = done(Some(secs(600)));
    world.settle_one(worker, &delivery, verdict).await;
    for _ in 0..2 {
        assert_eq!(world.outcome(sent[0]).await, Some(the_value()));
    }
}

pub async fn an_outcome_wakes_whoever_waits(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let waiter = world.waiter(sent[0]).await;
    let delivery = world.claim_one(worker).await;
    let verdict = done(Some(secs(600)));
    world.settle_one(worker, &delivery, verdict).await;
    assert_eq!(soon("the outcome", waiter).await.unwrap(), the_value());
}

pub async fn an_outcome_that_is_not_kept_still_reaches_whoever_waits(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let waiter = world.waiter(sent[0]).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(soon("the outcome", waiter).await.unwrap(), the_value());
    assert_eq!(world.awaited(sent[0], secs(1)).await, Awaited::Unknown);
}

pub async fn an_unknown_task_has_no_outcome(harness: impl Harness) {
    let world = World::start(harness).await;
    let id = world.envelope().id;
    let answer = soon("the answer", world.awaited(id, hours(1))).await;
    assert_eq!(answer, Awaited::Unknown);
}

pub async fn a_task_that_has_not_ended_has_no_outcome_yet(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    for _ in 0..2 {
        for at_most in [Duration::ZERO, ms(30)] {
            assert_eq!(world.awaited(sent[0], at_most).await, Awaited::TimedOut);
        }
        world.claim(worker, 1).await;
    }
}

/// By whatever clock the broker keeps results.
pub async fn an_outcome_is_kept_for_its_span_only(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(2).await;
    let held = world.claim(worker, 2).await;
    let verdict = done(Some(ms(100)));
    world.settle_one(worker, &held[0], verdict).await;
    let verdict = done(Some(hours(1)));
    world.settle_one(worker, &held[1], verdict).await;
    let expiry = async {
        while world.awaited(sent[0], Duration::ZERO).await != Awaited::Unknown {
            world.advance(ms(10));
            tokio::time::sleep(ms(10)).await;
        }
    };
    soon("the expiry", expiry).await;
    assert_eq!(world.outcome(sent[1]).await, Some(the_value()));
}

pub async fn many_waits_on_one_handle_each_get_their_own_outcome(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(50).await;
    let mut waiters = Vec::new();
    for id in &sent {
        let (broker, queue, id) = (world.broker.clone(), world.queue.clone(), *id);
        waiters.push(tokio::spawn(async move {
            broker.outcome(&queue, id, secs(30)).await.unwrap()
        }));
    }
    let held = world.claim(worker, 50).await;
    let settlements = held.iter().enumerate().map(|(n, delivery)| {
        let value = [u8::try_from(n).unwrap()];
        lovage_core::Settlement {
            id: delivery.id,
            fence: delivery.fence,
            verdict: Verdict::Done {
                outcome: Outcome::Done(value.to_vec().into()),
                keep: Some(secs(600)),
            },
        }
    });
    world.settle_each(worker, settlements.collect()).await;
    for (n, waiter) in waiters.into_iter().enumerate() {
        let Awaited::Outcome(bytes) = soon("the outcome", waiter).await.unwrap() else {
            panic!("wait {n} got no outcome");
        };
        let value = [u8::try_from(n).unwrap()];
        let expected = Outcome::Done(value.to_vec().into());
        assert_eq!(Outcome::decode(&bytes).unwrap(), expected);
    }
}

pub async fn several_may_wait_for_one_task(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let separate = world.broker.separate().await.unwrap();
    let queue = world.queue.clone();
    let id = sent[0];
    let elsewhere =
        tokio::spawn(async move { separate.outcome(&queue, id, secs(30)).await.unwrap() });
    let (one, other) = (world.waiter(id).await, world.waiter(id).await);
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(soon("the first wait", one).await.unwrap(), the_value());
    assert_eq!(soon("the second wait", other).await.unwrap(), the_value());
    let elsewhere = soon("another handle's wait", elsewhere).await.unwrap();
    assert_eq!(elsewhere, Awaited::Outcome(the_value().encode()));
}

pub async fn a_wait_given_up_does_not_hinder_the_next(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let given_up = world.waiter(sent[0]).await;
    given_up.abort();
    assert_eq!(world.awaited(sent[0], ms(10)).await, Awaited::TimedOut);
    let waiter = world.waiter(sent[0]).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(soon("the outcome", waiter).await.unwrap(), the_value());
}

pub async fn cancelling_wakes_whoever_waits(harness: impl Harness) {
    let world = World::start(harness).await;
    let later = Envelope {
        start: Some(When::In(secs(60))),
        ..world.envelope()
    };
    let scheduled = world.send_one(later).await;
    let ready = world.send(1).await[0];
    for id in [scheduled, ready] {
        let waiter = world.waiter(id).await;
        world.broker.cancel(&world.queue, id).await.unwrap();
        let outcome = soon("the outcome", waiter).await.unwrap();
        assert_eq!(outcome, Outcome::Cancelled);
        assert_eq!(world.outcome(id).await, Some(Outcome::Cancelled));
    }
}

pub async fn a_marked_task_wakes_whoever_waits_once_it_ends(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let waiter = world.waiter(sent[0]).await;
    world.broker.cancel(&world.queue, sent[0]).await.unwrap();
    assert_eq!(world.awaited(sent[0], ms(10)).await, Awaited::TimedOut);
    world.settle_one(worker, &delivery, Verdict::Release).await;
    let outcome = soon("the outcome", waiter).await.unwrap();
    assert_eq!(outcome, Outcome::Cancelled);
}

pub async fn a_dead_letter_answers_with_its_reason_while_it_is_dead(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let waiter = world.waiter(sent[0]).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    let told = soon("the outcome", waiter).await.unwrap();
    let Some(Outcome::Failed(failure)) = world.outcome(sent[0]).await else {
        panic!("a dead letter has failed");
    };
    assert_eq!(failure.message, "broken");
    assert_eq!(told, Outcome::Failed(failure));

    world.broker.revive(&world.queue, sent[0]).await.unwrap();
    assert_eq!(world.awaited(sent[0], ms(10)).await, Awaited::TimedOut);
    let waiter = world.waiter(sent[0]).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    assert_eq!(soon("the outcome", waiter).await.unwrap(), the_value());
}

/// The reason stays with the dead letter.
pub async fn a_revived_task_has_no_outcome_of_its_former_life(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, bury("broken")).await;
    world.broker.revive(&world.queue, sent[0]).await.unwrap();
    assert_eq!(world.awaited(sent[0], ms(10)).await, Awaited::TimedOut);
    let delivery = world.claim_one(worker).await;
    world.settle_one(worker, &delivery, done(None)).await;
    // What the first wait was to be told of this life may still be on its way to the handle.
    let outcome = world.outcome(sent[0]).await;
    assert!(
        matches!(outcome, None | Some(Outcome::Done(_))),
        "{outcome:?}"
    );
}

pub async fn an_id_sent_again_has_no_outcome_of_its_former_life(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let envelope = world.envelope();
    world.send_one(envelope.clone()).await;
    let delivery = world.claim_one(worker).await;
    let verdict = done(Some(hours(1)));
    world.settle_one(worker, &delivery, verdict).await;
    world.send_one(envelope.clone()).await;
    assert_eq!(world.awaited(envelope.id, ms(10)).await, Awaited::TimedOut);
}

pub async fn losing_its_workers_wakes_whoever_waits(harness: impl Harness) {
    let world = World::start(harness).await;
    let once = Envelope {
        ack: Ack::Early,
        ..world.envelope()
    };
    let once = world.send_one(once).await;
    let poison = world.send(1).await[0];
    let (abandoned, lost) = (world.waiter(once).await, world.waiter(poison).await);
    for _ in 0..LOSSES_MAX {
        let worker = world.worker().await;
        world.claim(worker, 2).await;
        world.lose_all_workers().await;
    }
    for (waiter, kind) in [
        (abandoned, FailureKind::Abandoned),
        (lost, FailureKind::Lost),
    ] {
        let outcome = soon("the outcome", waiter).await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Failed(failure) if failure.kind == kind),
            "{outcome:?}"
        );
    }
}

pub async fn an_expired_task_answers_so(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let sent = world.send(1).await;
    let delivery = world.claim_one(worker).await;
    let verdict = Verdict::Done {
        outcome: Outcome::Expired,
        keep: Some(secs(60)),
    };
    world.settle_one(worker, &delivery, verdict).await;
    assert_eq!(world.outcome(sent[0]).await, Some(Outcome::Expired));
    let one = std::num::NonZeroU16::MIN;
    let claim = world.broker.claim(worker, &world.queue, one).await;
    assert!(claim.is_ok());
}
