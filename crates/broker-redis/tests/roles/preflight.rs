//! Users that lack something: it is named, at the start and later.

use std::num::NonZeroU16;

use lovage_broker_redis::acl::{Acl, Role};
use lovage_broker_redis::{ConnectError, RedisBroker};
use lovage_core::{
    Broker, BrokerError, EnqueueError, Inspect, Membership, QueueName, WorkerId, secs,
};
use lovage_test_redis::RedisServer;
use redis::Value;

use crate::rare::encoded;
use crate::{config, make_user, set_user};

async fn lacks(server: &RedisServer, acl: &Acl) -> Vec<String> {
    match RedisBroker::connect(&config(server, "app").acting_as(acl.clone())).await {
        Ok(_) => Vec::new(),
        Err(ConnectError::Permissions(missing)) => {
            let text = missing.to_string();
            assert!(
                text.contains("\"app\"") && text.contains("ACL SETUSER app "),
                "{text}"
            );
            missing.rules().to_vec()
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether the server says of a command alone, without what it takes, whether it is allowed; Redis 8.6 does not.
async fn answers_for_names(server: &RedisServer) -> bool {
    let script = "return redis.acl_check_cmd('publish')";
    server.cli::<Value>(&["EVAL", script, "0"]).await.is_ok()
}

/// All but what makes the connection itself.
#[tokio::test]
async fn each_missing_permission_is_named_at_the_start() {
    let server = RedisServer::start().await;
    let answers_for_names = answers_for_names(&server).await;
    for role in Role::ALL {
        let acl = Acl::of([role]);
        for rule in acl.rules() {
            let makes_connections = ["+info", "-@all"].contains(&rule.as_str());
            if makes_connections || rule.starts_with("reset") || rule.starts_with("clear") {
                continue;
            }
            let rest: Vec<String> = acl
                .rules()
                .into_iter()
                .filter(|other| *other != rule)
                .collect();
            set_user(&server, "app", rest).await;
            let missing = lacks(&server, &acl).await;
            if rule.starts_with('(') {
                // Nothing can be asked without it.
                assert_eq!(missing, acl.rules(), "{role}");
            } else {
                assert!(missing.contains(&rule), "{role}: {rule}: {missing:?}");
                // Nothing can be said of a channel without it, nor of it without a channel.
                let may_be_more = match rule.as_str() {
                    "+publish" => role != Role::Producer,
                    rule => rule.starts_with('&') && !answers_for_names,
                };
                let alone = missing.len() == 1;
                assert!(alone || may_be_more, "{role}: {rule}: {missing:?}");
            }
            set_user(&server, "app", missing).await;
            assert_eq!(lacks(&server, &acl).await, [""; 0], "{role}: {rule}");
        }
    }
}

#[tokio::test]
async fn all_missing_permissions_are_named_at_once() {
    let server = RedisServer::start().await;
    let acl = Acl::of([Role::Worker, Role::Producer]);
    let taken = [
        "+hset",
        "+hget",
        "+bzpopmin",
        "~{lovage:*}:tasks",
        "%W~{lovage:*}:losses",
        "&lovage:results:*",
    ];
    let rest = acl
        .rules()
        .into_iter()
        .filter(|rule| !taken.contains(&rule.as_str()));
    set_user(&server, "app", rest.collect()).await;
    let mut missing = lacks(&server, &acl).await;
    let mut taken: Vec<String> = taken.map(str::to_owned).into();
    if !answers_for_names(&server).await {
        taken.extend(["+publish", "+subscribe"].map(str::to_owned));
    }
    missing.sort();
    taken.sort();
    assert_eq!(missing, taken);
}

#[tokio::test]
async fn what_is_named_is_enough_where_all_keys_are_missing() {
    let server = RedisServer::start().await;
    for role in Role::ALL {
        let acl = Acl::of([role]);
        let is_key = |rule: &String| rule.contains('~') && !rule.starts_with('(');
        let (keys, rest): (Vec<_>, Vec<_>) = acl.rules().into_iter().partition(is_key);
        set_user(&server, "app", rest).await;
        let missing = lacks(&server, &acl).await;
        let unnamed = keys.iter().find(|key| !missing.contains(key));
        assert_eq!(unnamed, None, "{role}: {missing:?}");
        set_user(&server, "app", missing).await;
        assert_eq!(lacks(&server, &acl).await, [""; 0], "{role}");
    }
}

#[tokio::test]
async fn permissions_are_asked_for_once_and_not_by_a_new_connection() {
    let server = RedisServer::start().await;
    let acl = Acl::of([Role::Operator]);
    make_user(&server, "app", &acl).await;
    let queue = QueueName::parse("mail").unwrap();
    let broker = RedisBroker::connect(&config(&server, "app").acting_as(acl))
        .await
        .unwrap();
    let calls = async || {
        server
            .info("commandstats")
            .await
            .get("cmdstat_eval")
            .cloned()
    };
    let once = calls().await.unwrap();
    assert!(once.starts_with("calls=1,"), "{once}");
    broker.counts(&queue).await.unwrap();
    let with_the_script = calls().await;
    server
        .cli::<i64>(&["CLIENT", "KILL", "USER", "app"])
        .await
        .unwrap();
    while broker.counts(&queue).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        calls().await.unwrap().split(',').next(),
        with_the_script.unwrap().split(',').next()
    );
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_named_until_it_is_given_back() {
    let server = RedisServer::start().await;
    let acl = Acl::of([Role::Worker]);
    make_user(&server, "app", &acl).await;
    let broker = RedisBroker::connect(&config(&server, "app").acting_as(acl))
        .await
        .unwrap();
    let (queue, worker) = (QueueName::parse("mail").unwrap(), WorkerId::random());
    broker.register(worker, &queue, secs(60)).await.unwrap();
    let claim = async || broker.claim(worker, &queue, NonZeroU16::MIN).await;
    for rule in ["+hmget", "~{lovage:*}:meta"] {
        let rest = Acl::of([Role::Worker])
            .rules()
            .into_iter()
            .filter(|other| other != rule);
        set_user(&server, "app", rest.collect()).await;
        let Err(BrokerError::Misconfigured(refused)) = claim().await else {
            panic!("it may not claim without {rule}");
        };
        let text = refused.to_string();
        assert!(
            text.contains(&format!("ACL SETUSER app {rule} (Redis says")),
            "{text}"
        );
        set_user(&server, "app", vec![rule.to_owned()]).await;
        claim().await.unwrap();
    }
    set_user(&server, "app", vec!["clearselectors".to_owned()]).await;
    let Err(BrokerError::Misconfigured(refused)) = claim().await else {
        panic!("it may not call scripts");
    };
    assert!(refused.to_string().contains("(+eval +evalsha"), "{refused}");
}

/// What a script has written before its user is refused the next step stays written.
#[tokio::test]
async fn a_send_that_its_user_may_not_finish_is_in_doubt() {
    let server = RedisServer::start().await;
    let acl = Acl::of([Role::Producer]);
    make_user(&server, "app", &acl).await;
    let broker = RedisBroker::connect(&config(&server, "app")).await.unwrap();
    let queue = QueueName::parse("mail").unwrap();
    let rest = acl.rules().into_iter().filter(|rule| rule != "+hset");
    set_user(&server, "app", rest.collect()).await;
    let sent = broker.enqueue(&queue, vec![encoded()]).await;
    assert!(matches!(sent, Err(EnqueueError::Unknown(_))), "{sent:?}");
    let stored = server.cli::<u64>(&["HLEN", "{lovage:mail}:tasks"]).await;
    assert_eq!(stored.unwrap(), 1);
}
