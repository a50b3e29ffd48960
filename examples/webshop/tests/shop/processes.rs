//! The programs as they are deployed: an order is completed though a worker is killed, and a shop closes when it is told.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lovage::secs;
use lovage_test_redis::RedisServer;
use tokio::net::TcpListener;
use webshop::Sink;

use crate::http::{Events, get, post_json};
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
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// A web server, and where it has opened.
    fn web(folder: &Path, smtp: SocketAddr, flags: &[&str]) -> (Self, SocketAddr) {
        let listen = ["--listen", "127.0.0.1:0"];
        let flags = [&listen[..], flags].concat();
        let mut web = Self::start(env!("CARGO_BIN_EXE_webshop"), folder, smtp, &flags);
        let out = BufReader::new(web.0.stdout.take().unwrap());
        let is_open = |line: String| {
            line.strip_prefix("the shop is open at http://")?
                .parse()
                .ok()
        };
        let mut lines = out.lines().map_while(Result::ok);
        let address = lines.find_map(is_open).unwrap();
        (web, address)
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
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
    let flags = ["--broker", &url, "--mails", mails_folder.to_str().unwrap()];
    let (_web, address) = Process::web(folder.path(), smtp, &flags);
    let list = get(address, "/mails").await;
    assert_eq!(list.status, 200, "before any mail server: {list:?}");

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

#[test]
fn a_shop_that_is_told_twice_to_close_does_not_wait_for_a_request_that_never_ends() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody orders: no mail server is asked for.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let (mut web, address) = Process::web(folder.path(), nobody, &["--broker", "memory://"]);
    let open = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(secs(30))).unwrap();
        write!(stream, "{request}\r\nHost: shop\r\n").unwrap();
        stream
    };
    let mut half = open("POST /orders HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9");
    write!(half, "Content-Type: application/json\r\n\r\n").unwrap();
    let mut page = open("GET /events HTTP/1.1");
    write!(page, "\r\n").unwrap();
    // Both are at work: one waits for its body, the other for news.
    for stream in [&mut half, &mut page] {
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 9);
    }

    web.signal("TERM");
    page.read_to_end(&mut Vec::new()).unwrap();
    web.signal("TERM");
    assert!(web.0.wait().unwrap().success());
}
