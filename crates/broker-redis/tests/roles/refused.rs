//! What each role is refused.

use lovage_broker_redis::acl::{Acl, Role};
use lovage_core::QueueName;
use lovage_test_redis::RedisServer;
use redis::{Client, Cmd, Value};

use crate::{make_user, make_users};

/// What nobody may do.
const ALL: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "CONFIG SET maxmemory 1",
    "ACL LIST",
    "ACL SETUSER me on nopass ~* +@all",
    "SCRIPT FLUSH",
    "SHUTDOWN",
    "REPLICAOF NO ONE",
    "MONITOR",
    "CLIENT LIST",
    "RENAME {lovage:mail}:tasks {lovage:mail}:meta",
    "HGETALL {lovage:mail}:tasks",
    "HGET {other:mail}:tasks 1",
    "HSET {other:mail}:tasks 1 1",
    "HGET {lovage2:mail}:tasks 1",
    "HGET mine 1",
    "EVAL return(redis.call('HGET',KEYS[1],'1')) 1 {other:mail}:tasks",
    "EVAL return(redis.call('HGET','{other:mail}:tasks','1')) 0",
    "EVAL return(redis.call('FLUSHALL')) 0",
    "PUBLISH other:results:1 1",
    "XADD {lovage:mail}:tasks * 1 1",
];
const PRODUCER: &[&str] = &[
    "LPOP {lovage:mail}:ready:5",
    "LRANGE {lovage:mail}:ready:5 0 -1",
    "SCAN 0",
    "HSCAN {lovage:mail}:tasks 0",
    "HSET {lovage:mail}:active:1 1 1",
    "EVAL return(redis.call('HSET',KEYS[1],'1','1')) 1 {lovage:mail}:active:1",
    "ZADD {lovage:mail}:identities 1 1",
    "HGET {lovage:mail}:reports 1",
    "RPUSH {lovage:mail}:losses 1",
    "BZPOPMIN {lovage:mail}:bell 1",
    "HGET {lovage}:records 1",
    "HSET {lovage}:records 1 1",
    "CONFIG GET maxmemory",
    "EVAL return(1) 1 {lovage}:records",
];
const WORKER: &[&str] = &[
    "SCAN 0",
    "SUBSCRIBE lovage:results:1",
    "GET {lovage:mail}:result:1",
    "LRANGE {lovage:mail}:losses 0 -1",
    "HGET {lovage}:records 1",
    "HSET {lovage}:records 1 1",
    "CONFIG GET maxmemory",
];
const BEAT: &[&str] = &[
    "SCAN 0",
    "SUBSCRIBE lovage:results:1",
    "PUBLISH lovage:results:1 1",
    "LPOP {lovage:mail}:ready:5",
    "HSET {lovage:mail}:active:1 1 1",
    "GET {lovage:mail}:result:1",
    "SET {lovage:mail}:result:1 1",
    "HGET {lovage:mail}:reasons 1",
    "HSET {lovage:mail}:callbacks 1 1",
    "CONFIG GET maxmemory",
];
const OPERATOR: &[&str] = &[
    "LPOP {lovage:mail}:ready:5",
    "BZPOPMIN {lovage:mail}:bell 1",
    "SUBSCRIBE lovage:results:1",
    "BZPOPMIN {lovage}:bell 1",
    "ZADD {lovage}:standby 1 1",
    "WAIT 0 1",
];

async fn each_is_refused(server: &RedisServer, user: &str, commands: &[&str]) {
    let url = server
        .url()
        .replace("redis://", &format!("redis://{user}:pw@"));
    let mut connection = Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    for command in commands {
        let mut words = Cmd::new();
        for word in command.split(' ') {
            words.arg(word);
        }
        let answer = words.query_async::<Value>(&mut connection).await;
        let error = answer.as_ref().err();
        let text = error.map(ToString::to_string).unwrap_or_default();
        let refused = error.and_then(|error| error.code()) == Some("NOPERM")
            || text.contains("The user executing the script can't")
            || text.contains("ACL failure in script");
        assert!(refused, "{user}: {command}: {answer:?}");
    }
}

#[tokio::test]
async fn each_role_is_refused_what_is_not_its_own() {
    let server = RedisServer::start().await;
    make_users(&server, "lovage").await;
    for (role, own) in [
        (Role::Producer, PRODUCER),
        (Role::Worker, WORKER),
        (Role::Beat, BEAT),
        (Role::Operator, OPERATOR),
    ] {
        each_is_refused(&server, &role.to_string(), ALL).await;
        each_is_refused(&server, &role.to_string(), own).await;
    }
}

#[tokio::test]
async fn a_user_for_some_queues_is_refused_the_others() {
    let server = RedisServer::start().await;
    let queue = |name: &str| QueueName::parse(name).unwrap();
    let acl = Acl::of([Role::Producer, Role::Worker]).queues([queue("mail"), queue("a:b")]);
    make_user(&server, "app", &acl).await;
    each_is_refused(
        &server,
        "app",
        &[
            "HGET {lovage:mails}:tasks 1",
            "HGET {lovage:other}:tasks 1",
            "EVALSHA 1 1 {lovage:other}:tasks",
            "HGET {lovage}:records 1",
        ],
    )
    .await;
    let url = server.url().replace("redis://", "redis://app:pw@");
    let client = Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for key in [
        "{lovage:mail}:tasks",
        "{lovage:mail#3}:tasks",
        "{lovage:a:b}:tasks",
    ] {
        let get = redis::cmd("HGET")
            .arg(key)
            .arg(1)
            .query_async::<Value>(&mut connection)
            .await;
        assert_eq!(get.unwrap(), Value::Nil, "{key}");
    }
}
