//! Each fault of the proxy, seen by a client behind it.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::io::ErrorKind;
use std::time::Duration;

use lovage_test_redis::{Fault, FaultProxy, RedisServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap()
}

async fn ping(stream: &mut TcpStream) {
    stream.write_all(PING).await.unwrap();
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, PONG);
}

/// Fails if the connection brings bytes or ends within a moment in which it otherwise would have.
async fn assert_silent(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    let heard = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await;
    assert!(heard.is_err(), "not silent: {heard:?}");
}

async fn assert_reset(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    assert_eq!(
        stream.read(&mut byte).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn all_bytes_pass_at_first() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let large = "x".repeat(1_000_000);
    redis::cmd("SET")
        .arg("k")
        .arg(&large)
        .exec_async(&mut connection)
        .await
        .unwrap();
    let read: String = redis::cmd("GET")
        .arg("k")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(read, large);
}

#[tokio::test]
async fn stalled_bytes_arrive_later() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut stream = connect(&proxy).await;
    ping(&mut stream).await;

    proxy.set(Fault::Stall);
    stream.write_all(PING).await.unwrap();
    assert_silent(&mut stream).await;

    proxy.set(Fault::Pass);
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, PONG);
}

#[tokio::test]
async fn a_connection_that_lost_bytes_stays_silent_and_a_new_one_works() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    for fault in [Fault::Swallow, Fault::DropReplies] {
        let mut stream = connect(&proxy).await;
        ping(&mut stream).await;
        proxy.set(fault);
        stream.write_all(PING).await.unwrap();
        assert_silent(&mut stream).await;

        proxy.set(Fault::Pass);
        stream.write_all(PING).await.unwrap();
        assert_silent(&mut stream).await;
        ping(&mut connect(&proxy).await).await;
    }
}

#[tokio::test]
async fn requests_reach_the_server_when_only_replies_are_dropped() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::DropReplies);
    stream
        .write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n")
        .await
        .unwrap();
    assert_silent(&mut stream).await;
    assert_eq!(server.cli::<u64>(&["GET", "n"]).await.unwrap(), 1);
}

#[tokio::test]
async fn requests_reach_the_server_while_replies_are_held_and_the_replies_arrive_later() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut stream = connect(&proxy).await;
    ping(&mut stream).await;
    proxy.set(Fault::HoldReplies);
    stream
        .write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n")
        .await
        .unwrap();
    assert_silent(&mut stream).await;
    assert_eq!(server.cli::<u64>(&["GET", "n"]).await.unwrap(), 1);

    proxy.set(Fault::Pass);
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b":1\r\n");
}

#[tokio::test]
async fn a_swallowed_end_of_the_server_is_not_heard() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut stream = connect(&proxy).await;
    ping(&mut stream).await;
    proxy.set(Fault::Swallow);
    server.kill9();
    assert_silent(&mut stream).await;
}

#[tokio::test]
async fn a_reply_is_cut_after_the_bytes_named() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut stream = connect(&proxy).await;
    for cut in [3, 0] {
        proxy.set(Fault::Pass);
        ping(&mut stream).await;
        proxy.set(Fault::CutAfter(cut));
        stream.write_all(PING).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, PONG[..cut]);
        stream = connect(&proxy).await;
    }
}

#[tokio::test]
async fn present_connections_go_on_while_new_ones_are_refused() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let mut present = connect(&proxy).await;
    ping(&mut present).await;
    proxy.set(Fault::Refuse);
    ping(&mut present).await;
    assert_reset(&mut connect(&proxy).await).await;
    proxy.set(Fault::Pass);
    ping(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn all_connections_are_reset_at_once() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let (mut a, mut b) = (connect(&proxy).await, connect(&proxy).await);
    ping(&mut a).await;
    ping(&mut b).await;
    proxy.reset_all();
    assert_reset(&mut a).await;
    assert_reset(&mut b).await;
    ping(&mut connect(&proxy).await).await;
}
