//! Envelopes so large that a thousand of them must not be read at once.

use crate::common::{LEASE, at_most, claim, done, envelope, granted, mail, worker};
use bytes::Bytes;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Broker, Clock, Delivery, Encoded, Envelope, Failure, FailureKind, Inspect, ManualClock,
    Membership, Settlement, TaskId, Verdict, When, WorkerId, ms, secs,
};
use lovage_test_redis::RedisServer;

const MIB: usize = 1024 * 1024;
/// What fits into eight MiB, as each has a little more than one.
const FIT: usize = 7;

#[tokio::test]
async fn a_claim_brings_no_more_than_fits_and_keeps_the_order() {
    let server = RedisServer::start().await;
    let (broker, _) = connect(&server).await;
    let worker = worker(&broker).await;
    let sent = send(&broker, 20, |_| {}).await;
    let mut claimed = Vec::new();
    for expected in [FIT, FIT, 6, 0] {
        let held = claim(&broker, worker, 100).await;
        assert_eq!(held.len(), expected);
        claimed.extend(ids(&held));
    }
    assert_eq!(claimed, sent);
}

#[tokio::test]
async fn one_that_does_not_fit_is_claimed_alone_and_small_ones_together() {
    let server = RedisServer::start().await;
    let (broker, _) = connect(&server).await;
    let worker = worker(&broker).await;
    send(&broker, FIT, |_| {}).await;
    crate::common::send(&broker, 500).await;
    let sent = send(&broker, 2, |_| {}).await;
    assert_eq!(claim(&broker, worker, 1000).await.len(), FIT + 500);
    assert_eq!(ids(&claim(&broker, worker, 1000).await), sent);
}

#[tokio::test]
async fn due_tasks_are_promoted_as_many_as_fit() {
    let server = RedisServer::start().await;
    let (broker, clock) = connect(&server).await;
    let worker = worker(&broker).await;
    let later = |envelope: &mut Envelope| envelope.start = Some(When::In(secs(1)));
    let sent = send(&broker, 8, later).await;
    clock.advance(secs(2));
    let batch = granted(broker.claim(worker, &mail(), at_most(100)).await.unwrap());
    assert_eq!(batch.next_due, Some(ms(0)));
    let mut claimed = ids(&batch.deliveries);
    assert!((1..8).contains(&claimed.len()), "{}", claimed.len());
    while claimed.len() < sent.len() {
        let held = claim(&broker, worker, 100).await;
        assert!(!held.is_empty(), "{} claimed so far", claimed.len());
        claimed.extend(ids(&held));
    }
    claimed.sort();
    let mut sent = sent;
    sent.sort();
    assert_eq!(claimed, sent);
}

#[tokio::test]
async fn a_page_of_large_dead_letters_is_short_and_the_next_goes_on() {
    let server = RedisServer::start().await;
    let (broker, _) = connect(&server).await;
    let worker = worker(&broker).await;
    send(&broker, 10, |_| {}).await;
    loop {
        let held = claim(&broker, worker, 100).await;
        if held.is_empty() {
            break;
        }
        let bury = |delivery: &Delivery| Settlement {
            verdict: Verdict::Bury(Failure::new(FailureKind::Error, "no")),
            ..done(delivery)
        };
        let verdicts = held.iter().map(bury).collect();
        broker.settle(worker, &mail(), verdicts).await.unwrap();
    }
    let first = broker.dead_letters(&mail(), 0, 100).await.unwrap();
    let rest = broker.dead_letters(&mail(), FIT, 100).await.unwrap();
    assert_eq!((first.len(), rest.len()), (FIT, 3));
    assert!(first.iter().all(|letter| MIB < letter.bytes.len()));
}

#[tokio::test]
async fn a_page_of_large_scheduled_tasks_is_short_and_the_next_goes_on() {
    let server = RedisServer::start().await;
    let (broker, _) = connect(&server).await;
    let sent = send(&broker, FIT + 2, |envelope| {
        envelope.start = Some(When::In(secs(60)));
    })
    .await;
    let mut listed = Vec::new();
    for expected in [FIT, 2, 0] {
        let page = broker.scheduled(&mail(), listed.len(), 1000).await.unwrap();
        assert_eq!(page.len(), expected);
        listed.extend(page.into_iter().map(|task| task.id));
    }
    listed.sort();
    let mut expected = sent;
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn large_tasks_are_retried_and_released_as_small_ones_are() {
    let server = RedisServer::start().await;
    let (broker, clock) = connect(&server).await;
    let worker = worker(&broker).await;
    let sent = send(&broker, 4, |_| {}).await;
    let held = claim(&broker, worker, 100).await;
    let verdicts = [
        Verdict::Release,
        Verdict::RetryIn(secs(1)),
        Verdict::Release,
        Verdict::RetryIn(secs(1)),
    ];
    let settle = |(delivery, verdict)| Settlement {
        verdict,
        ..done(delivery)
    };
    let verdicts = held.iter().zip(verdicts).map(settle).collect();
    let settled = broker.settle(worker, &mail(), verdicts).await.unwrap();
    assert_eq!(settled.stale, []);
    clock.advance(secs(2));
    let mut again = Vec::new();
    while again.len() < sent.len() {
        let held = claim(&broker, worker, 100).await;
        assert!(!held.is_empty(), "{} claimed so far", again.len());
        again.extend(held);
    }
    assert_eq!(ids(&again)[..2], [sent[0], sent[2]]);
    for delivery in again {
        let envelope = Envelope::decode(&delivery.bytes).unwrap();
        let expected = u16::from([sent[1], sent[3]].contains(&delivery.id));
        assert_eq!(envelope.attempts, expected);
        assert_eq!(envelope.args.len(), MIB + 5);
    }
}

#[tokio::test]
async fn a_lost_workers_large_tasks_are_taken_back_in_several_calls() {
    let server = RedisServer::start().await;
    let (broker, clock) = connect(&server).await;
    let lost = WorkerId::random();
    broker.register(lost, &mail(), LEASE).await.unwrap();
    send(&broker, 10, |_| {}).await;
    while !claim(&broker, lost, 100).await.is_empty() {}
    clock.advance(LEASE + secs(1));
    let mut released = Vec::new();
    for _ in 0..4 {
        let recovered = broker.recover(&mail(), ms(0)).await.unwrap();
        released.push((recovered.released, recovered.more));
    }
    assert_eq!(
        released,
        [(0, false), (FIT as u64, true), (3, false), (0, false)]
    );
    assert!(broker.holdings(lost, &mail()).await.unwrap().is_empty());
}

async fn connect(server: &RedisServer) -> (RedisBroker, ManualClock) {
    let clock = ManualClock::default();
    let config = RedisConfig::new(server.url()).clock(Clock::Manual(clock.clone()));
    (RedisBroker::connect(&config).await.unwrap(), clock)
}

async fn send(broker: &RedisBroker, count: usize, edit: impl Fn(&mut Envelope)) -> Vec<TaskId> {
    let mut sent = Vec::new();
    for _ in 0..count {
        let mut large = envelope();
        // A MessagePack string of one MiB.
        let text = [&b"\xdb\x00\x10\x00\x00"[..], &vec![b'x'; MIB]].concat();
        large.args = Bytes::from(text);
        edit(&mut large);
        let task: Encoded = large.encode().unwrap();
        sent.push(task.id());
        broker.enqueue(&mail(), vec![task]).await.unwrap();
    }
    sent
}

fn ids(held: &[Delivery]) -> Vec<TaskId> {
    held.iter().map(|held| held.id).collect()
}
