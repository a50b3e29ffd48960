//! The same users behind sentinels, in a cluster, and in another database.

use lovage_broker_redis::acl::{Acl, Role, sentinel_rules};
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{Broker, Envelope, QueueName, TaskId, TaskName, secs};
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
