//! What a test may rely on of its own cluster.

use std::time::Duration;

use lovage_test_redis::Cluster;

#[tokio::test]
async fn a_slot_moves_with_its_keys_and_both_sides_redirect_meanwhile() {
    let cluster = Cluster::start(Duration::from_secs(15)).await;
    let slot = cluster.slot("{a}").await;
    let from = cluster.owner(slot).await;
    let to = &cluster.nodes()[usize::from(from.port() == cluster.nodes()[0].port())];
    from.cli::<()>(&["SET", "{a}:k", "v"]).await.unwrap();

    let moving = cluster.begin_move(slot, to).await;
    let asked = from
        .cli::<String>(&["GET", "{a}:absent"])
        .await
        .unwrap_err();
    assert_eq!(asked.code(), Some("ASK"));
    let moved = to.cli::<String>(&["GET", "{a}:k"]).await.unwrap_err();
    assert_eq!(moved.code(), Some("MOVED"));
    moving.finish().await;
    assert_eq!(to.cli::<String>(&["GET", "{a}:k"]).await.unwrap(), "v");
    assert_eq!(cluster.owner(slot).await.port(), to.port());
}

#[tokio::test]
async fn a_replica_takes_over_when_told_and_when_its_primary_dies() {
    let cluster = Cluster::start(Duration::from_secs(2)).await;
    let slot = cluster.slot("{a}").await;
    let first = cluster.owner(slot).await;
    first.cli::<()>(&["SET", "{a}:k", "v"]).await.unwrap();
    let second = cluster.fail_over(slot).await;
    assert_ne!(second.port(), first.port());
    assert_eq!(second.cli::<String>(&["GET", "{a}:k"]).await.unwrap(), "v");

    cluster.until_whole().await;
    second.kill9();
    let third = cluster.successor_of(second, slot).await;
    assert_eq!(third.port(), first.port());
    second.restart().await;
    cluster.until_whole().await;
}
