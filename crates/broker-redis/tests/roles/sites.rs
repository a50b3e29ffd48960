//! The same users behind sentinels, in a cluster, and in another database.

use lovage_broker_redis::acl::{Acl, Role, sentinel_rules};
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{AccessFiles, Broker, Envelope, QueueName, TaskId, TaskName, secs};
use lovage_test_redis::{Cluster, RedisServer, Sentinels};

use crate::{make_user, set_user};

fn as_app(url: &str) -> String {
    url.replacen("://", "://app:pw@", 1)
}

async fn send(broker: &RedisBroker) {
    let (queue, task) = (
        QueueName::parse("mail").unwrap(),
        TaskName::parse("tick").unwrap(),
    );
    let envelope = Envelope::new(TaskId::random(), task, queue.clone(), vec![0x80].into());
    broker
        .enqueue(&queue, vec![envelope.encode().unwrap()])
        .await
        .unwrap();
}

/// Connects with all rules, and not without `rule`.
async fn needs(servers: &[RedisServer], url: &str, rule: &str) {
    let acl = Acl::of([Role::Producer]);
    let config = RedisConfig::new(url).acting_as(acl.clone());
    for server in servers {
        make_user(server, "app", &acl).await;
    }
    send(&RedisBroker::connect(&config).await.unwrap()).await;
    let rest: Vec<String> = acl
        .rules()
        .into_iter()
        .filter(|other| other != rule)
        .collect();
    for server in servers {
        set_user(server, "app", rest.clone()).await;
    }
    let refused = RedisBroker::connect(&config).await.err();
    assert!(
        matches!(
            refused,
            Some(ConnectError::Misconfigured(_) | ConnectError::Permissions(_))
        ),
        "{rule}: {refused:?}"
    );
}

#[tokio::test]
async fn users_with_roles_connect_to_another_database() {
    let server = RedisServer::start().await;
    let url = format!("{}/1", as_app(&server.url()));
    needs(&[server], &url, "+select").await;
}

#[tokio::test]
async fn users_with_roles_connect_to_a_cluster() {
    let cluster = Cluster::start(secs(15)).await;
    needs(cluster.nodes(), &as_app(&cluster.url()), "+cluster|slots").await;
}

#[tokio::test]
async fn users_with_roles_connect_by_sentinels_and_a_user_there_that_may_only_ask() {
    let servers = Sentinels::start(RedisServer::builder(), 1).await;
    for sentinel in servers.sentinels() {
        set_user(sentinel, "asker", sentinel_rules()).await;
    }
    let url = as_app(&servers.url()) + "?sentinel_username=asker&sentinel_password=pw";
    needs(servers.servers(), &url, "+role").await;
    for sentinel in servers.sentinels() {
        set_user(sentinel, "asker", vec!["-@all".to_owned()]).await;
    }
    let refused = RedisBroker::connect(&RedisConfig::new(url)).await.err();
    assert!(
        matches!(refused, Some(ConnectError::Misconfigured(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn sentinels_have_a_user_and_a_password_of_their_own_in_files() {
    let servers = Sentinels::start(RedisServer::builder(), 1).await;
    for server in servers.servers() {
        make_user(server, "app", &Acl::of([Role::Producer])).await;
    }
    for sentinel in servers.sentinels() {
        set_user(sentinel, "asker", sentinel_rules()).await;
        // Whoever shows nothing, or the user of the servers, is refused.
        set_user(sentinel, "default", vec!["-@all".to_owned()]).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let (asker, pw) = (file("asker", "asker\n"), file("pw", "pw\n"));
    let with = |query: &str, sentinel_username: &Option<_>, sentinel_password: &Option<_>| {
        let files = AccessFiles {
            sentinel_username: sentinel_username.clone(),
            sentinel_password: sentinel_password.clone(),
            ..AccessFiles::default()
        };
        RedisConfig::new(as_app(&servers.url()) + query).files(files)
    };
    for config in [
        with("", &asker, &pw),
        // Each counts before its like in the URL, and beside the other half there.
        with("?sentinel_username=x&sentinel_password=y", &asker, &pw),
        with("?sentinel_password=pw", &asker, &None),
        with("?sentinel_username=asker", &None, &pw),
    ] {
        send(&RedisBroker::connect(&config).await.unwrap()).await;
    }
    for (config, part) in [
        (with("", &None, &None), "WRONGPASS"),
        (with("", &asker, &file("bad", "s3cret")), "WRONGPASS"),
        (with("", &None, &pw), "no permissions"),
        (with("", &asker, &None), "without a password"),
        (
            with("?sentinel_username=asker", &None, &None),
            "without a password",
        ),
        (
            with("", &asker, &file("empty", "\n")),
            "password file of the sentinels",
        ),
    ] {
        let error = RedisBroker::connect(&config).await.err().unwrap();
        assert!(matches!(error, ConnectError::Misconfigured(_)), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(part), "{part}: {shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
