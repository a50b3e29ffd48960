//! How long a send takes and how much all of them hold, while Redis is silent or away.

use std::time::Duration;

use lovage::prelude::*;
use lovage::{Place, SendError, TaskId};
use lovage_test_redis::RedisServer;
use tokio::task::JoinSet;
use tokio::time::timeout;

#[task]
async fn ship(order: u64) -> u64 {
    order
}

/// Longer than any test takes: a send that waited for it would be seen.
const FOREVER: Duration = hours(1);
const LIMIT: Duration = secs(60);

#[tokio::test]
async fn a_send_ends_by_its_own_deadline() {
    let server = RedisServer::start().await;
    let builder = Client::builder(server.url()).deadline(FOREVER);
    let client = builder.connect().await.unwrap();
    server.pause();
    let send = client.send(ship(1)).deadline(ms(200)).into_future();
    let silent = timeout(LIMIT, send).await.expect("it ends");
    assert!(
        matches!(silent, Err(SendError::Unknown { .. })),
        "{silent:?}"
    );
    server.resume();

    server.kill9();
    // The connection that has just died leaves the first in doubt.
    let refused = timeout(LIMIT, async {
        loop {
            match client.send(ship(2)).deadline(ms(200)).await {
                Err(SendError::Unknown { .. }) => {}
                other => break other,
            }
        }
    });
    let refused = refused.await.expect("each ends");
    assert!(matches!(refused, Err(SendError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn sends_beyond_the_budget_are_refused_at_once_and_the_others_end_honestly() {
    let server = RedisServer::start().await;
    let client = Client::builder(server.url())
        .deadline(secs(1))
        .waiting_bytes_max(20_000)
        .connect()
        .await
        .unwrap();
    server.pause();
    let mut sends = JoinSet::new();
    for order in 0..1000 {
        let (client, id) = (client.clone(), TaskId::random());
        sends.spawn(async move { (id, client.send(ship(order)).id(id).await) });
    }
    let (mut overloaded, mut held, mut not_stored) = (0, 0, Vec::new());
    while let Some(ended) = timeout(LIMIT, sends.join_next()).await.expect("each ends") {
        match ended.unwrap() {
            (id, Err(SendError::Overloaded { held, limit })) => {
                assert!(limit < held + 1000, "{held} of {limit}");
                overloaded += 1;
                not_stored.push(id);
            }
            (id, Err(SendError::Refused(_))) => {
                held += 1;
                not_stored.push(id);
            }
            (_, Err(SendError::Unknown { .. })) => held += 1,
            (_, other) => panic!("{other:?}"),
        }
    }
    assert!(
        50 < held && 500 < overloaded,
        "{held} held, {overloaded} not"
    );

    server.resume();
    let patient = client.send(ship(0)).deadline(LIMIT).await.unwrap();
    assert_eq!(patient.state().await.unwrap(), Place::Ready);
    for id in not_stored {
        let handle = client.handle::<ship>("default", id).unwrap();
        assert_eq!(handle.state().await.unwrap(), Place::Gone, "{id}");
    }
}
