//! What a test may rely on of its own redis-server.

use lovage_test_redis::RedisServer;

#[tokio::test]
async fn a_server_answers_and_is_gone_when_dropped() {
    let server = RedisServer::start().await;
    server.cli::<()>(&["SET", "k", "v"]).await.unwrap();
    assert_eq!(server.cli::<String>(&["GET", "k"]).await.unwrap(), "v");

    let folder = server.folder().to_owned();
    let port = server.port();
    drop(server);
    assert!(!folder.exists(), "the folder is still there");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn servers_started_at_once_each_have_their_own_port() {
    let (a, b, c) = tokio::join!(
        RedisServer::start(),
        RedisServer::start(),
        RedisServer::start()
    );
    let mut ports = vec![a.port(), b.port(), c.port()];
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
}

#[tokio::test]
async fn an_append_only_file_survives_a_kill_and_a_restart() {
    let server = RedisServer::builder().appendonly("always").start().await;
    server.cli::<()>(&["SET", "k", "v"]).await.unwrap();
    let (port, pid) = (server.port(), server.pid());

    server.kill9();
    assert!(server.cli::<()>(&["PING"]).await.is_err());
    server.restart().await;
    assert_eq!(server.cli::<String>(&["GET", "k"]).await.unwrap(), "v");

    server.restart().await;
    assert_eq!(server.cli::<String>(&["GET", "k"]).await.unwrap(), "v");
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
}

#[tokio::test]
async fn a_server_without_a_file_forgets_all_when_killed() {
    let server = RedisServer::start().await;
    server.cli::<()>(&["SET", "k", "v"]).await.unwrap();
    server.kill9();
    server.restart().await;
    assert_eq!(server.cli::<u64>(&["EXISTS", "k"]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_paused_server_answers_only_after_it_is_resumed() {
    let server = RedisServer::start().await;
    server.pause();
    let mut asked = std::pin::pin!(server.cli::<String>(&["PING"]));
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut asked).await;
    assert!(early.is_err(), "answered while paused: {early:?}");
    server.resume();
    assert_eq!(asked.await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_password_is_part_of_the_url() {
    let server = RedisServer::builder()
        .arg("requirepass", "s3cret")
        .start()
        .await;
    assert!(server.url().contains("s3cret"));
    assert_eq!(server.cli::<String>(&["PING"]).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_refused_setting_fails_with_the_servers_own_words() {
    let error = RedisServer::builder()
        .arg("no-such-directive", "1")
        .try_start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no-such-directive"), "{error:#}");
}
