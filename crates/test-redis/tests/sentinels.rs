//! What a test may rely on of its own sentinels.

use lovage_test_redis::{RedisServer, Sentinels};

#[tokio::test]
async fn a_replica_that_has_everything_takes_over() {
    let all = Sentinels::start(RedisServer::builder(), 1).await;
    let old = all.primary().await;
    old.cli::<()>(&["SET", "k", "v"]).await.unwrap();
    let new = all.fail_over().await;
    assert_ne!(new.port(), old.port());
    assert_eq!(new.cli::<String>(&["GET", "k"]).await.unwrap(), "v");
    assert!(!old.is_primary().await);
}

#[tokio::test]
async fn a_primary_that_is_killed_is_replaced() {
    let all = Sentinels::start(RedisServer::builder(), 2).await;
    let old = all.primary().await;
    old.kill9();
    let new = all.successor_of(old).await;
    new.cli::<()>(&["SET", "k", "v"]).await.unwrap();
    old.restart().await;
    assert_eq!(all.primary().await.port(), new.port());
}
