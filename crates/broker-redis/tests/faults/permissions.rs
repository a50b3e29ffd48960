//! Users that may not do everything.

use crate::common::{LEASE, claim, done, envelope, mail, send, worker};
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Ack, Awaited, Broker, Cancelled, Clock, Control, Inspect, ManualClock, Membership, Place,
    Results, TaskId, WorkerId, ms, secs,
};
use lovage_test_redis::RedisServer;

/// Redis 7 gives a new user no channels.
#[tokio::test]
async fn a_user_without_channels_ends_tasks_that_are_waited_for() {
    let server = RedisServer::start().await;
    let rights = ["on", ">pw", "~*", "+@all"];
    let words = ["ACL", "SETUSER", "app"].into_iter().chain(rights);
    server.cli::<()>(&words.collect::<Vec<_>>()).await.unwrap();
    let url = format!("redis://app:pw@127.0.0.1:{}", server.port());
    let clock = ManualClock::default();
    let config = RedisConfig::new(url).clock(Clock::Manual(clock.clone()));
    let broker = RedisBroker::connect(&config).await.unwrap();

    let one_worker = worker(&broker).await;
    let sent = send(&broker, 2).await;
    let held = claim(&broker, one_worker, 1).await;
    await_end(&broker, sent[0]).await;
    await_end(&broker, sent[1]).await;
    let settled = broker
        .settle(one_worker, &mail(), vec![done(&held[0])])
        .await;
    assert_eq!(settled.unwrap().stale, []);
    assert_eq!(
        broker.cancel(&mail(), sent[1]).await.unwrap(),
        Cancelled::Removed
    );
    for id in sent {
        assert_eq!(broker.state(&mail(), id).await.unwrap(), Place::Gone);
    }

    let lost = WorkerId::random();
    broker.register(lost, &mail(), LEASE).await.unwrap();
    let mut once = envelope();
    once.ack = Ack::Early;
    broker
        .enqueue(&mail(), vec![once.encode().unwrap()])
        .await
        .unwrap();
    claim(&broker, lost, 1).await;
    await_end(&broker, once.id).await;
    clock.advance(LEASE + secs(1));
    broker.recover(&mail(), ms(0)).await.unwrap();
    let recovered = broker.recover(&mail(), ms(0)).await.unwrap();
    assert_eq!((recovered.buried, recovered.more), (1, false));
    assert_eq!(broker.state(&mail(), once.id).await.unwrap(), Place::Dead);
    assert!(broker.holdings(lost, &mail()).await.unwrap().is_empty());
    let kept: Vec<String> = server
        .cli(&["HKEYS", "{lovage:mail}:waiting"])
        .await
        .unwrap();
    assert!(kept.is_empty(), "{kept:?}");
}

/// Leaves the handle's name with the task.
async fn await_end(broker: &RedisBroker, id: TaskId) {
    let outcome = broker.outcome(&mail(), id, ms(0)).await.unwrap();
    assert_eq!(outcome, Awaited::TimedOut);
}
