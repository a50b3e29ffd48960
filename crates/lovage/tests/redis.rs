//! What only shows over Redis: how many calls sends take, and what a sender is told when the server fails.

use std::time::Duration;

use lovage::prelude::*;
use lovage::{ConnectError, FailureKind, Place, SendError, TaskId, WaitError};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};
use tokio::task::JoinSet;

#[task]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(queue = "failing", max_retries = 0)]
async fn fails() -> anyhow::Result<()> {
    anyhow::bail!("as it must")
}

async fn client(server: &RedisServer) -> Client {
    Client::connect(&server.url()).await.expect("it answers")
}

/// A client with a deadline that no test waits out.
async fn patient(address: &str) -> Client {
    let client = Client::builder(address).deadline(secs(60)).connect();
    client.await.expect("it answers")
}

/// A client whose deadline a test waits out.
async fn hurried(address: &str) -> Client {
    let client = Client::builder(address).deadline(ms(400)).connect();
    client.await.expect("it answers")
}

/// How many script calls the server has run.
async fn calls(server: &RedisServer) -> u64 {
    let stats: String = server
        .cli(&["INFO", "commandstats"])
        .await
        .expect("it answers");
    let line = |command: &str| {
        let start = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&start))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    ["evalsha", "eval"].into_iter().filter_map(line).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_back_over_redis() {
    let server = RedisServer::start().await;
    let client = client(&server).await;
    let worker = client.worker().start().await.unwrap();

    let sum = client.send(add(2, 3)).await.unwrap();
    assert_eq!(sum.wait(secs(30)).await.unwrap(), 5);
    let fails = client.send(fails()).await.unwrap();
    let Err(WaitError::Failed(failure)) = fails.wait(secs(30)).await else {
        panic!("it has not failed");
    };
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Error, "as it must")
    );
    assert_eq!(fails.state().await.unwrap(), Place::Dead);
    worker.shutdown().await;
}

#[tokio::test]
async fn sends_at_the_same_time_share_a_call() {
    let server = RedisServer::start().await;
    let client = patient(&server.url()).await;
    client.send(add(0, 0)).await.unwrap();
    let before = calls(&server).await;
    let mut sends = JoinSet::new();
    for n in 0..500 {
        let client = client.clone();
        sends.spawn(async move { client.send(add(n, n)).await });
    }
    let handles = sends.join_all().await;
    assert!(handles.iter().all(Result::is_ok));
    assert_eq!(client.counts("default").await.unwrap().ready, 501);
    let calls = calls(&server).await - before;
    assert!(calls <= 10, "{calls} calls for 500 sends");
}

#[tokio::test]
async fn a_bulk_send_takes_a_call_a_thousand() {
    let server = RedisServer::start().await;
    let client = patient(&server.url()).await;
    // A lone task has a script of its own: these load the one of many.
    client.send_all([add(0, 0), add(0, 1)]).await.unwrap();
    let before = calls(&server).await;
    client.send_all((0..4000).map(|n| add(n, n))).await.unwrap();
    assert_eq!(calls(&server).await - before, 4);
    assert_eq!(client.counts("default").await.unwrap().ready, 4002);
}

#[tokio::test]
async fn an_address_where_nobody_answers_cannot_be_connected_to() {
    let server = RedisServer::start().await;
    let url = server.url();
    server.kill9();
    let error = Client::connect(&url).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_send_to_a_server_that_is_gone_is_refused() {
    let server = RedisServer::start().await;
    let client = hurried(&server.url()).await;
    client.send(add(1, 2)).await.unwrap();
    server.kill9();
    // The first may be written to the dying connection, and then nobody can know.
    let _ = client.send(add(1, 2)).await;
    let error = client.send(add(1, 2)).await.unwrap_err();
    assert!(matches!(error, SendError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_send_that_found_no_connection_is_refused() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let client = hurried(&proxy.url()).await;
    client.send(add(1, 2)).await.unwrap();
    // New connections are taken, and then nothing is heard from them.
    proxy.set(Fault::Swallow);
    proxy.reset_all();
    // The first may be written to the dying connection, and then nobody can know.
    let _ = client.send(add(1, 2)).await;
    let error = client.send(add(1, 2)).await.unwrap_err();
    assert!(matches!(error, SendError::Refused(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_waits_for_a_server_that_comes_back_within_the_deadline() {
    let server = RedisServer::start().await;
    let client = patient(&server.url()).await;
    client.send(add(1, 2)).await.unwrap();
    server.kill9();
    let (sent, ()) = tokio::join!(client.send(add(1, 2)).into_future(), server.restart());
    let handle = sent.unwrap();
    assert_eq!(handle.state().await.unwrap(), Place::Ready);
}

#[tokio::test]
async fn a_send_without_an_answer_is_unknown_and_the_same_id_again_is_one_task() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let client = hurried(&proxy.url()).await;
    client.send(add(0, 0)).await.unwrap();

    proxy.set(Fault::DropReplies);
    let id = TaskId::random();
    let error = client.send(add(1, 2)).id(id).await.unwrap_err();
    let SendError::Unknown { id: unknown, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(unknown, id);
    assert!(error.to_string().contains(&id.to_string()), "{error}");

    let again = self::client(&server).await;
    again.send(add(1, 2)).id(id).await.unwrap();
    assert_eq!(again.counts("default").await.unwrap().ready, 2);
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_replaced_within_the_deadline() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let client = Client::builder(proxy.url()).deadline(secs(4)).connect();
    let client = client.await.unwrap();
    client.send(add(0, 0)).await.unwrap();

    proxy.set(Fault::Swallow);
    let sent = tokio::spawn(client.send(add(1, 2)).into_future());
    // The connection has lost bytes by then, and stays silent; new ones pass.
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.set(Fault::Pass);
    sent.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_at_most_once_send_without_an_answer_is_not_repeated() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let client = hurried(&proxy.url()).await;
    client.send(add(0, 0)).await.unwrap();

    let before = calls(&server).await;

    proxy.set(Fault::DropReplies);
    let error = client.send(add(1, 2)).ack(Ack::Early).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown { .. }), "{error:?}");
    assert_eq!(calls(&server).await, before + 1);
}

/// The answer to the first call is lost; the task runs, ends and is gone before the second, and is not run again.
#[tokio::test]
async fn a_lost_answer_is_repeated_under_an_idempotency_key() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let direct = client(&server).await;
    let client = patient(&proxy.url()).await;
    // So that the server knows the script: an answer that it does not would be lost as well.
    let warm = client.send(add(0, 0)).queue("warm");
    warm.idempotency_key("warm").await.unwrap();

    proxy.set(Fault::DropReplies);
    let charge = client.send(add(1, 2)).ack(Ack::Early);
    let sent = tokio::spawn(charge.idempotency_key("order-17").into_future());
    while direct.counts("default").await.unwrap().ready == 0 {
        tokio::time::sleep(ms(5)).await;
    }
    let worker = direct.worker().start().await.unwrap();
    while direct.counts("default").await.unwrap() != lovage::Counts::default() {
        tokio::time::sleep(ms(5)).await;
    }
    proxy.set(Fault::Pass);
    proxy.reset_all();
    let handle = sent.await.unwrap().unwrap();
    assert_eq!(handle.wait(secs(30)).await.unwrap(), 3);
    assert_eq!(
        direct.counts("default").await.unwrap(),
        lovage::Counts::default()
    );
    // A program that is started anew asks in the same way.
    let again = direct
        .send(add(1, 2))
        .ack(Ack::Early)
        .idempotency_key("order-17");
    let again = again.await.unwrap();
    assert_eq!((again.id(), again.is_new()), (handle.id(), false));
    worker.shutdown().await;
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_nothing_is_stored() {
    let server = RedisServer::builder()
        .arg("maxmemory-policy", "noeviction")
        .start()
        .await;
    let client = hurried(&server.url()).await;
    client.send(add(0, 0)).await.unwrap();
    let _: String = server
        .cli(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let error = client.send(add(1, 2)).await.unwrap_err();
    assert!(matches!(error, SendError::Refused(_)), "{error:?}");
    let _: String = server
        .cli(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    assert_eq!(client.counts("default").await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such_and_not_repeated() {
    let server = RedisServer::builder()
        .arg("requirepass", "secret")
        .start()
        .await;
    let url = format!("redis://:wrong-word@127.0.0.1:{}", server.port());
    let error = Client::connect(&url).await.unwrap_err();
    assert!(matches!(error, ConnectError::Misconfigured(_)), "{error:?}");
    assert!(!error.to_string().contains("wrong-word"), "{error}");
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let shop = Client::builder(server.url())
        .namespace("shop")
        .connect()
        .await
        .unwrap();
    shop.send(add(1, 2)).await.unwrap();
    assert_eq!(shop.counts("default").await.unwrap().ready, 1);
    assert_eq!(
        client(&server).await.counts("default").await.unwrap().ready,
        0
    );
}

#[test]
fn a_url_is_not_shown() {
    let builder = Client::builder("redis://app:s3cret@db");
    assert!(!format!("{builder:?}").contains("s3cret"));
}
