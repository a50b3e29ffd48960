//! The programs as they are deployed, over a real Redis: an order is completed though a worker is killed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use lovage::secs;
use lovage_test_redis::RedisServer;
use tokio::net::TcpListener;
use webshop::Sink;

use crate::http::{Events, get, post_json, try_get};
use crate::stage::{ADA, done, mails, mails_in};

/// A process, killed and waited for when dropped.
struct Process(Child);

impl Process {
    fn start(program: &str, folder: &Path, smtp: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(flags)
            .env("WEBSHOP_ORDERS", folder.join("orders.jsonl"))
            .env("WEBSHOP_SMTP", format!("smtp://{smtp}"))
            .env("WEBSHOP_PACE_MS", "200")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill9(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

#[tokio::test]
async fn orders_are_completed_though_a_worker_is_killed() {
    const ORDERS: u64 = 20;
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    // A mail server that is slow to say a word: connections come in, and workers wait with mails in their hands.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp = silent.local_addr().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);

    let url = server.url();
    let worker = || {
        let flags = ["--broker", &url, "--lease", "2s"];
        Process::start(
            env!("CARGO_BIN_EXE_webshop-worker"),
            folder.path(),
            smtp,
            &flags,
        )
    };
    let (mut killed, _other) = (worker(), worker());
    let mails_folder = mails_in(folder.path());
    let flags = [
        "--broker",
        &url,
        "--listen",
        &address.to_string(),
        "--mails",
        mails_folder.to_str().unwrap(),
    ];
    let _web = Process::start(env!("CARGO_BIN_EXE_webshop"), folder.path(), smtp, &flags);
    let limit = Instant::now() + secs(30);
    while try_get(address, "/healthz").await.is_none() {
        assert!(Instant::now() < limit, "the web server does not answer");
        tokio::time::sleep(lovage::ms(20)).await;
    }

    for order in 0..ORDERS {
        // Each is clicked twice, at once.
        let key = format!("order-{order}");
        let clicks = (post_json(address, &key, ADA), post_json(address, &key, ADA));
        let (one, two) = tokio::join!(clicks.0, clicks.1);
        assert!(
            [(201, 200), (200, 201)].contains(&(one.status, two.status)),
            "{one:?} {two:?}"
        );
    }
    // In the middle of the way.
    let mut events = Events::open(address, "/events?after=0", "").await;
    let packed = |order: &serde_json::Value| order["step"] == "packed";
    while !events.next().await.1.as_array().unwrap().iter().any(packed) {}
    killed.kill9();
    let sink = Sink::on(silent, mails_folder.clone()).await.unwrap();
    tokio::spawn(sink.run());

    for number in 1..=ORDERS {
        done(address, number).await;
    }
    let page = get(address, "/").await.body;
    assert_eq!(page.matches("step shipped").count(), 20, "{page}");
    // What the killed worker held was mailed by the other one, and nothing twice.
    let mails = mails(folder.path());
    let ids: BTreeSet<&str> = mails
        .iter()
        .map(|mail| {
            mail.lines()
                .find(|line| line.starts_with("Message-ID:"))
                .unwrap()
        })
        .collect();
    assert_eq!((mails.len(), ids.len()), (20, 20));
}
