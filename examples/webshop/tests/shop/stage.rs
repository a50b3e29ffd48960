//! A whole shop in this process: broker, worker, mail server and web server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lovage::worker::RunningWorker;
use lovage::{CancellationToken, Client, ms};
use tokio::net::TcpListener;
use webshop::{Mailer, Orders, Pace, Shop, Sink, router};

use crate::http;

pub(crate) const ADA: &str =
    r#"{"name":"Ada Lovelace","email":"ada@example.org","product":"cup","quantity":2}"#;

pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) folder: tempfile::TempDir,
    worker: RunningWorker,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink_in(folder.path(), "127.0.0.1:0").await;
        Self::start_with(folder, sink).await
    }

    /// A shop whose mail server is at `smtp`.
    pub(crate) async fn start_with(folder: tempfile::TempDir, smtp: SocketAddr) -> Self {
        let orders = Orders::open(folder.path().join("orders.jsonl")).unwrap();
        let client = Client::connect("memory://").await.unwrap();
        let worker = client.worker().state(orders.clone()).state(Pace {
            between_steps: ms(20),
        });
        let mailer = Mailer::new(&format!("smtp://{smtp}")).unwrap();
        let worker = worker.state(mailer).start().await.unwrap();
        let shop = Shop {
            client: client.clone(),
            orders,
        };
        let routes = router(
            shop,
            Some(mails_in(folder.path())),
            CancellationToken::new(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            address,
            client,
            folder,
            worker,
        }
    }

    /// The mails that were taken by now.
    pub(crate) fn mails(&self) -> Vec<String> {
        mails(self.folder.path())
    }

    pub(crate) async fn stop(self) {
        self.worker.shutdown().await;
    }
}

/// Starts a mail server whose mails are below `folder`.
pub(crate) async fn sink_in(folder: &Path, address: &str) -> SocketAddr {
    let sink = Sink::bind(address, mails_in(folder)).await.unwrap();
    let address = sink.address().unwrap();
    tokio::spawn(sink.run());
    address
}

pub(crate) fn mails_in(folder: &Path) -> PathBuf {
    folder.join("mails")
}

pub(crate) fn mails(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(mails_in(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// Waits until order number `number` at `address` is shipped and its receipt sent.
pub(crate) async fn done(address: SocketAddr, number: u64) {
    let mut events = http::Events::open(address, "/events?after=0", "").await;
    loop {
        let (_, orders) = events.next().await;
        let is_done = |order: &serde_json::Value| {
            order["number"] == number && order["step"] == "shipped" && order["receipt_sent"] == true
        };
        if orders.as_array().unwrap().iter().any(is_done) {
            return;
        }
    }
}
