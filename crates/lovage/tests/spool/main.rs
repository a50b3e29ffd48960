//! A client that spools, with Redis away, back, full and silent, and with a folder that is taken, full or damaged.

mod repeats;

use std::fs;
use std::path::Path;
use std::time::Duration;

use lovage::prelude::*;
use lovage::{
    Clock, ConnectError, Millis, QueueName, SendError, Spool, SpoolConfig, SpoolError, TaskId,
};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};
use tempfile::TempDir;

#[task]
async fn ship(order: u64) -> u64 {
    order
}

/// What no test waits out.
const LIMIT: Duration = secs(60);

/// A server, and a way to it that a test closes.
struct Stage {
    server: RedisServer,
    proxy: FaultProxy,
    folder: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let server = RedisServer::start().await;
        let proxy = FaultProxy::start(&server).await;
        let folder = TempDir::with_prefix("lovage-spool-").expect("a temporary folder");
        Self {
            server,
            proxy,
            folder,
        }
    }

    /// The client under test.
    async fn client(&self) -> Client {
        self.hurried(secs(20)).await
    }

    async fn hurried(&self, deadline: Duration) -> Client {
        let builder = Client::builder(self.proxy.url()).deadline(deadline);
        let client = builder.spool(config(self.folder.path())).connect();
        client.await.expect("the folder is free")
    }

    /// A client that reaches the server all the time.
    async fn observer(&self) -> Client {
        let client = Client::connect(&self.server.url()).await;
        client.expect("the server answers")
    }

    fn close(&self) {
        self.proxy.set(Fault::Refuse);
        self.proxy.reset_all();
    }

    fn open(&self) {
        self.proxy.set(Fault::Pass);
    }

    /// How many clients the server lets wait.
    async fn held(&self) -> u64 {
        self.told("clients", "blocked_clients:").await
    }

    /// The number behind `name` in a section of the server's own report.
    async fn told(&self, section: &str, name: &str) -> u64 {
        let info: String = self
            .server
            .cli(&["INFO", section])
            .await
            .expect("the server answers");
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.split(',').next());
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// How often the server was asked for a confirmation.
    async fn questions(&self) -> u64 {
        self.told("commandstats", "cmdstat_wait:calls=").await
    }

    /// How many connections the server has accepted.
    async fn connections(&self) -> u64 {
        self.told("stats", "total_connections_received:").await
    }

    /// The ids that wait in a queue, oldest first.
    async fn ready(&self, queue: &str) -> Vec<TaskId> {
        let key = format!("{{lovage:{queue}}}:ready:5");
        let ids: Vec<Vec<u8>> = self
            .server
            .cli(&["LRANGE", &key, "0", "-1"])
            .await
            .expect("the server answers");
        let id = |bytes: &Vec<u8>| TaskId::try_from(bytes.as_slice()).expect("sixteen bytes");
        ids.iter().map(id).collect()
    }
}

fn config(folder: &Path) -> SpoolConfig {
    SpoolConfig::at(folder.join("spool"))
}

fn spool(client: &Client) -> Spool {
    client.spool().expect("it was asked for").clone()
}

async fn emptied(client: &Client) {
    assert!(spool(client).emptied(LIMIT).await, "not emptied in time");
}

/// Waits until `look` answers.
async fn eventually(what: &str, look: impl AsyncFn() -> bool) {
    let limit = tokio::time::Instant::now() + LIMIT;
    while !look().await {
        assert!(tokio::time::Instant::now() < limit, "not in time: {what}");
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn spooled_sends_arrive_in_order() {
    let stage = Stage::start().await;
    let client = stage.client().await;
    let mut sent = vec![client.send(ship(0)).await.unwrap()];
    assert!(!sent[0].is_spooled());
    stage.close();
    for order in 1..=50 {
        sent.push(client.send(ship(order)).await.unwrap());
    }
    sent.extend(client.send_all((51..=2100).map(ship)).await.unwrap());
    assert!(sent[1..].iter().all(lovage::Handle::is_spooled));
    let stats = spool(&client).stats();
    assert_eq!((stats.tasks, stats.aside), (2100, 0));
    assert!(
        stats.oldest.is_some() && 2100 * 50 < stats.bytes,
        "{stats:?}"
    );

    stage.open();
    // Meanwhile others are sent: behind those that wait, as long as any waits.
    for order in 0..200 {
        sent.push(client.send(ship(order)).await.unwrap());
    }
    emptied(&client).await;
    let last = client.send(ship(0)).await.unwrap();
    assert!(!last.is_spooled());
    sent.push(last);

    let expected: Vec<TaskId> = sent.iter().map(lovage::Handle::id).collect();
    assert_eq!(stage.ready("default").await, expected);
    assert_eq!(spool(&client).stats(), lovage::SpoolStats::default());
}

#[tokio::test]
async fn a_client_with_a_spool_starts_while_redis_is_away() {
    let stage = Stage::start().await;
    stage.close();
    let client = stage.client().await;
    let sent = client.send(ship(1)).await.unwrap();
    assert!(sent.is_spooled());
    stage.open();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, [sent.id()]);
}

#[tokio::test]
async fn what_one_process_spooled_the_next_one_sends() {
    let stage = Stage::start().await;
    stage.close();
    let client = stage.client().await;
    let first = client.send(ship(1)).await.unwrap().id();
    drop(client);
    let client = stage.client().await;
    assert_eq!(spool(&client).stats().tasks, 1);
    let second = client.send(ship(2)).await.unwrap().id();
    stage.open();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, [first, second]);
}

#[tokio::test]
async fn a_full_queue_holds_up_its_own_tasks_alone() {
    let stage = Stage::start().await;
    let observer = stage.observer().await;
    observer.bound("default", Some(2)).await.unwrap();
    let client = stage.client().await;
    stage.close();
    let mut sent = Vec::new();
    for order in 0..5 {
        sent.push(client.send(ship(order)).await.unwrap().id());
        client.send(ship(order)).queue("other").await.unwrap();
    }
    stage.open();
    eventually(
        "the other queue's tasks arrive, and two of this one",
        async || stage.ready("other").await.len() == 5 && stage.ready("default").await.len() == 2,
    )
    .await;
    let behind = client.send(ship(6)).await.unwrap();
    assert!(behind.is_spooled());
    sent.push(behind.id());
    // What has arrived leaves the file a moment later.
    eventually("four wait", async || spool(&client).stats().tasks == 4).await;

    observer.bound("default", None).await.unwrap();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, sent);
    // A queue that is full is the caller's to know of, where nothing waits.
    observer.bound("default", Some(1)).await.unwrap();
    let full = client.send(ship(7)).await;
    assert!(matches!(full, Err(SendError::QueueFull { .. })), "{full:?}");
}

#[tokio::test]
async fn an_id_that_waits_is_one_task_however_often_it_is_sent() {
    let stage = Stage::start().await;
    let client = stage.client().await;
    stage.close();
    let id = TaskId::random();
    for _ in 0..3 {
        let sent = client.send(ship(1)).id(id).await.unwrap();
        // Nobody knows whether the queue has it already.
        assert!(sent.is_spooled() && !sent.is_new());
    }
    // The second is kept beside the first where that was just being sent.
    assert!(spool(&client).stats().tasks <= 2);
    stage.open();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, [id]);
}

#[tokio::test]
async fn a_send_without_an_answer_is_spooled_and_is_one_task() {
    let stage = Stage::start().await;
    let client = stage.hurried(secs(1)).await;
    client.send(ship(0)).queue("other").await.unwrap();
    stage.proxy.set(Fault::DropReplies);
    let sent = client.send(ship(1)).await.unwrap();
    assert!(sent.is_spooled());
    // It is stored already.
    assert_eq!(stage.ready("default").await, [sent.id()]);
    stage.open();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, [sent.id()]);
}

#[tokio::test]
async fn spans_of_a_spooled_send_count_from_the_send() {
    let stage = Stage::start().await;
    let client = stage.client().await;
    stage.close();
    let before = Clock::System.now();
    client.send(ship(1)).countdown(mins(10)).await.unwrap();
    let after = Clock::System.now();
    stage.open();
    emptied(&client).await;
    let waiting = stage.observer().await.scheduled("default", 0, 9).await;
    let due = waiting.unwrap()[0].due;
    let (earliest, latest): (Millis, Millis) = (before.plus(mins(10)), after.plus(mins(10)));
    assert!(
        (earliest..=latest).contains(&due),
        "{earliest} {due} {latest}"
    );
}

#[tokio::test]
async fn a_full_spool_refuses_with_its_limits_and_keeps_what_it_has() {
    let stage = Stage::start().await;
    stage.close();
    let small = config(stage.folder.path()).tasks_max(3);
    let client = Client::builder(stage.proxy.url()).spool(small).connect();
    let client = client.await.unwrap();
    let mut sent = Vec::new();
    for order in 0..3 {
        sent.push(client.send(ship(order)).await.unwrap().id());
    }
    let full = client.send(ship(3)).await.unwrap_err();
    let SendError::SpoolFull {
        tasks, tasks_max, ..
    } = full
    else {
        panic!("{full:?}");
    };
    assert_eq!((tasks, tasks_max), (3, 3));
    stage.open();
    emptied(&client).await;
    assert_eq!(stage.ready("default").await, sent);
}

#[tokio::test]
async fn a_spool_has_no_more_bytes_than_allowed() {
    let stage = Stage::start().await;
    stage.close();
    let small = config(stage.folder.path()).bytes_max(250);
    let client = Client::builder(stage.proxy.url()).spool(small).connect();
    let client = client.await.unwrap();
    client.send(ship(1)).await.unwrap();
    let large = client.send(ship(2)).header("large", "x".repeat(300)).await;
    assert!(
        matches!(large, Err(SendError::SpoolFull { .. })),
        "{large:?}"
    );
    assert_eq!(spool(&client).stats().tasks, 1);
}

#[tokio::test]
async fn a_folder_is_for_one_process() {
    let stage = Stage::start().await;
    let _client = stage.client().await;
    let second = Client::builder(stage.server.url())
        .spool(config(stage.folder.path()))
        .connect()
        .await;
    assert!(
        matches!(second, Err(ConnectError::Spool(SpoolError::Locked { .. }))),
        "{second:?}"
    );
}

#[tokio::test]
async fn a_damaged_folder_is_refused_and_left_as_it_is() {
    let stage = Stage::start().await;
    let file = stage.folder.path().join("spool/spool.redb");
    stage.close();
    let client = stage.client().await;
    for order in 0..100 {
        client.send(ship(order)).await.unwrap();
    }
    drop(client);
    // The next one takes the folder as soon as the last has let go of it.
    drop(stage.client().await);
    eventually("the folder is free", async || {
        let probe = fs::File::open(&file).expect("the file is there");
        probe.try_lock().is_ok()
    })
    .await;
    let good = fs::read(&file).unwrap();
    let none_of_ours = vec![7; good.len()];
    let mut cut = good.clone();
    cut.truncate(good.len() / 3);
    for bytes in [b"not a spool".to_vec(), none_of_ours, cut] {
        fs::write(&file, &bytes).unwrap();
        let client = Client::builder(stage.server.url())
            .spool(config(stage.folder.path()))
            .connect()
            .await;
        let Err(ConnectError::Spool(SpoolError::Damaged { folder, .. })) = &client else {
            panic!("{client:?}");
        };
        assert!(file.starts_with(folder));
        assert!(fs::read(&file).unwrap() == bytes, "the file was changed");
    }
}

#[tokio::test]
async fn what_waits_in_one_queue_does_not_send_another_into_the_spool() {
    let stage = Stage::start().await;
    let observer = stage.observer().await;
    observer.bound("default", Some(0)).await.unwrap();
    let client = stage.client().await;
    stage.close();
    client.send(ship(1)).await.unwrap();
    stage.open();
    eventually("another queue's send goes to Redis", async || {
        let sent = client.send(ship(2)).queue("other").await.unwrap();
        !sent.is_spooled()
    })
    .await;
    let queue = QueueName::parse("default").unwrap();
    assert!(
        client
            .send(ship(3))
            .queue(queue.as_str())
            .await
            .unwrap()
            .is_spooled()
    );
}
