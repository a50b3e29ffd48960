//! Users and passwords that are rotated while they are used.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::{mail, send, soon};
use lovage_broker_redis::{ConnectError, Credentials, RedisBroker, RedisConfig};
use lovage_core::{AccessFiles, Awaited, Broker, BrokerError, Inspect, Results, ms, secs};
use lovage_test_redis::RedisServer;
use tempfile::TempDir;

async fn set_user(server: &RedisServer, name: &str, rules: &[&str]) {
    let words = [&["ACL", "SETUSER", name], rules].concat();
    server.cli::<()>(&words).await.unwrap();
}

/// A server with the user `app`, who may do everything with the password `first`.
async fn server() -> RedisServer {
    let server = RedisServer::start().await;
    set_user(&server, "app", &["on", ">first", "~*", "&*", "+@all"]).await;
    server
}

fn url(server: &RedisServer) -> String {
    server.url().replace("redis://", "redis://app@")
}

fn password_file(path: &Path) -> AccessFiles {
    AccessFiles {
        password: Some(path.to_owned()),
        ..AccessFiles::default()
    }
}

async fn kill_connections_of(server: &RedisServer, user: &str) {
    let kill = ["CLIENT", "KILL", "USER", user];
    server.cli::<i64>(&kill).await.unwrap();
}

async fn until_it_answers(broker: &RedisBroker) {
    soon("answer", async {
        while broker.counts(&mail()).await.is_err() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotated_password_is_read_from_its_file_without_a_restart() {
    let server = server().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let config = RedisConfig::new(url(&server)).files(password_file(&file));
    let broker = RedisBroker::connect(&config).await.unwrap();
    let id = send(&broker, 1).await[0];
    // Both other kinds of connections are there, with the first password.
    broker.wait(&mail(), ms(50)).await.unwrap();
    broker.wait(&mail(), ms(50)).await.unwrap();
    let told = tokio::spawn({
        let broker = broker.clone();
        async move { broker.outcome(&mail(), id, secs(25)).await }
    });
    let listening = async || {
        let listening: Vec<String> = server.cli(&["PUBSUB", "CHANNELS"]).await.unwrap();
        listening.len() == 1
    };
    soon("subscription", async { while !listening().await {} }).await;

    set_user(&server, "app", &[">second"]).await;
    std::fs::write(&file, "second\n").unwrap();
    set_user(&server, "app", &["<first"]).await;
    kill_connections_of(&server, "app").await;
    until_it_answers(&broker).await;
    soon("subscription", async { while !listening().await {} }).await;
    // What met the loss of its connection is no error that somebody must mend.
    for _ in 0..3 {
        let waited = broker.wait(&mail(), ms(50)).await;
        assert!(
            !matches!(waited, Err(BrokerError::Misconfigured(_))),
            "{waited:?}"
        );
    }
    broker.wait(&mail(), ms(50)).await.unwrap();
    let cancelled = lovage_core::Control::cancel(&broker, &mail(), id).await;
    cancelled.unwrap();
    let told = soon("outcome", told).await.unwrap().unwrap();
    assert!(matches!(told, Awaited::Outcome(_)), "{told:?}");
}

#[tokio::test]
async fn a_password_that_became_wrong_is_tried_again_until_it_is_right() {
    let server = server().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let config = RedisConfig::new(url(&server)).files(password_file(&file));
    let at_the_start = RedisBroker::connect(&config).await.err();
    assert!(
        matches!(at_the_start, Some(ConnectError::Misconfigured(_))),
        "{at_the_start:?}"
    );

    std::fs::write(&file, "first").unwrap();
    let broker = RedisBroker::connect(&config).await.unwrap();
    set_user(&server, "app", &[">second", "<first"]).await;
    kill_connections_of(&server, "app").await;
    soon("refusal", async {
        while !matches!(
            broker.counts(&mail()).await,
            Err(BrokerError::Misconfigured(_))
        ) {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    // Those who come while it is not tried again are told the same.
    for _ in 0..20 {
        let refused = broker.counts(&mail()).await;
        assert!(
            matches!(refused, Err(BrokerError::Misconfigured(_))),
            "{refused:?}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(ms(1)).await;
    std::fs::write(&file, "second").unwrap();
    until_it_answers(&broker).await;
}

#[tokio::test]
async fn a_provider_is_asked_for_user_and_password_of_each_connection() {
    let server = server().await;
    set_user(&server, "app2", &["on", ">other", "~*", "&*", "+@all"]).await;
    let given = Arc::new(Mutex::new(Credentials::password("first").username("app")));
    let provider = {
        let given = given.clone();
        move || Ok(given.lock().unwrap().clone())
    };
    let config = RedisConfig::new(server.url()).credentials(provider);
    let broker = RedisBroker::connect(&config).await.unwrap();
    *given.lock().unwrap() = Credentials::password("other").username("app2");
    server.cli::<i64>(&["ACL", "DELUSER", "app"]).await.unwrap();
    until_it_answers(&broker).await;
    let clients: String = server.cli(&["CLIENT", "LIST"]).await.unwrap();
    assert!(clients.contains("user=app2"), "{clients}");
}

#[tokio::test]
async fn a_user_without_a_password_is_refused() {
    let server = server().await;
    let error = RedisBroker::connect(&RedisConfig::new(url(&server))).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("without a password"), "{error}");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    let server = server().await;
    let config = RedisConfig::new(url(&server)).files(password_file(&file));
    for (bytes, part) in [
        (None, "cannot be read"),
        (Some(&b"\n"[..]), "is empty"),
        (Some(b"s3cret\xff"), "no UTF-8"),
        (Some(b"s3cret"), "WRONGPASS"),
    ] {
        if let Some(bytes) = bytes {
            std::fs::write(&file, bytes).unwrap();
        }
        let error = RedisBroker::connect(&config).await.err().unwrap();
        let shown = format!("{error} {error:?} {config:?}");
        assert!(shown.contains(part), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let shown = format!("{:?}", Credentials::password("s3cret").username("ada"));
    assert!(
        !shown.contains("s3cret") && !shown.contains("ada"),
        "{shown}"
    );
}
