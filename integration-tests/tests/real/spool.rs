//! A producer that spools, killed again and again while Redis comes and goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lovage_core::{TaskId, ms};
use lovage_integration_tests::{Stage, eventually};
use lovage_test_redis::RedisServer;

use crate::stage_over;

const ROUNDS: u128 = 12;
/// More than a producer sends in one life.
const LIFE: u128 = 1_000_000;

/// The producers of a test: one folder, one after another.
struct Producers {
    url: String,
    spool: PathBuf,
    notes: PathBuf,
}

impl Producers {
    fn of(stage: &Stage) -> Self {
        Self {
            url: stage.redis.url(),
            spool: stage.folder().join("spool"),
            notes: stage.folder().join("notes"),
        }
    }

    fn spawn(&self, first: &str) -> Producer {
        self.start(
            &mut Command::new(env!("CARGO_BIN_EXE_test-producer")),
            first,
        )
    }

    /// One whose files cannot grow beyond so many blocks of 512 bytes, as on a full disk.
    fn spawn_on_a_full_disk(&self, blocks: u32, first: &str) -> Producer {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_test-producer");
        self.start(shell.args(["-c", &script, program]), first)
    }

    fn start(&self, program: &mut Command, first: &str) -> Producer {
        let child = program
            .arg(&self.url)
            .arg(&self.spool)
            .arg(&self.notes)
            .arg(first)
            .stdin(Stdio::null())
            .spawn();
        Producer(child.expect("the program was built with the tests"))
    }

    /// What was answered `Ok`, and how.
    fn notes(&self) -> BTreeMap<u128, String> {
        let mut notes = self.all_notes();
        notes.retain(|_, kept| kept != "refused");
        notes
    }

    fn all_notes(&self) -> BTreeMap<u128, String> {
        let text = fs::read_to_string(&self.notes).unwrap_or_default();
        // The last line may be under way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let note = |line: &str| {
            let (number, kept) = line.split_once(' ').expect("a number and a word");
            (number.parse().expect("a number"), kept.to_owned())
        };
        whole.lines().map(note).collect()
    }

    async fn until_more(&self, count: usize) {
        let before = self.notes().len();
        eventually("more is answered", async || {
            (before + count <= self.notes().len()).then_some(())
        })
        .await;
    }
}

/// A producer; killed and waited for when dropped.
struct Producer(Child);

impl Drop for Producer {
    fn drop(&mut self) {
        // Both fail only for a process that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How Redis is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redis {
    Up,
    Frozen,
    Killed,
}

impl Redis {
    fn any() -> Self {
        *fastrand::choice(&[Self::Up, Self::Frozen, Self::Killed]).expect("there are three")
    }

    async fn become_of(self, redis: &RedisServer, before: Self) {
        match before {
            Self::Up => {}
            Self::Frozen => redis.resume(),
            Self::Killed => redis.restart().await,
        }
        match self {
            Self::Up => {}
            Self::Frozen => redis.pause(),
            Self::Killed => redis.kill9(),
        }
    }
}

/// The numbers of the tasks that wait in Redis, oldest first.
async fn arrived(redis: &RedisServer) -> Vec<u128> {
    let ids: Vec<Vec<u8>> = redis
        .cli(&["LRANGE", "{lovage:default}:ready:5", "0", "-1"])
        .await
        .unwrap();
    let number = |id: Vec<u8>| u128::from_be_bytes(id.try_into().expect("sixteen bytes"));
    ids.into_iter().map(number).collect()
}

#[tokio::test]
async fn a_killed_producer_loses_nothing_that_it_was_answered_for() {
    let stage = stage_over(RedisServer::builder().appendonly("always").start().await);
    let producers = Producers::of(&stage);
    let mut redis = Redis::Up;
    for round in 1..=ROUNDS {
        let _producer = producers.spawn(&(round * LIFE).to_string());
        for _ in 0..3 {
            producers.until_more(fastrand::usize(1..20)).await;
            let next = Redis::any();
            next.become_of(&stage.redis, redis).await;
            redis = next;
        }
        tokio::time::sleep(ms(fastrand::u64(0..30))).await;
    }
    Redis::Up.become_of(&stage.redis, redis).await;
    let mut last = producers.spawn("drain");
    let status = eventually("the spool is empty", async || last.0.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");

    let (arrived, notes) = (arrived(&stage.redis).await, producers.notes());
    let spooled = notes.values().filter(|kept| *kept == "spooled").count();
    assert!(0 < spooled, "no send was spooled: the test tests nothing");
    for pair in arrived.windows(2) {
        assert!(pair[0] < pair[1], "out of order, or twice: {pair:?}");
    }
    for (number, kept) in &notes {
        let found = arrived.binary_search(number);
        assert!(found.is_ok(), "{number} is lost, though {kept}");
    }
    let _worker = stage.worker().spawn();
    stage.at_rest().await;
    let starts = stage.journal.all_starts();
    for number in notes.keys() {
        let id = TaskId::from_bytes(number.to_be_bytes());
        assert_eq!(starts[&id].len(), 1, "starts of {number}");
    }
}

#[tokio::test]
async fn sends_go_on_while_a_long_spool_drains() {
    let stage = stage_over(RedisServer::builder().appendonly("always").start().await);
    let producers = Producers::of(&stage);
    stage.redis.kill9();
    let producer = producers.spawn("1");
    producers.until_more(300).await;
    stage.redis.restart().await;
    // The first that goes to Redis itself again.
    eventually("the spool is empty", async || {
        let notes = producers.notes();
        notes.values().any(|kept| kept == "sent").then_some(())
    })
    .await;
    producers.until_more(20).await;
    drop(producer);

    let arrived = arrived(&stage.redis).await;
    assert!(arrived.is_sorted_by(|one, other| one < other));
    let notes = producers.notes();
    assert!(
        notes
            .keys()
            .all(|number| arrived.binary_search(number).is_ok())
    );
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_that_was_spooled() {
    let stage = stage_over(RedisServer::builder().appendonly("always").start().await);
    let producers = Producers::of(&stage);
    stage.redis.kill9();
    // The file is made with room to grow in.
    let producer = producers.spawn("1");
    producers.until_more(20).await;
    drop(producer);
    let size = fs::metadata(producers.spool.join("spool.redb"))
        .expect("it was made")
        .len();
    let blocks = u32::try_from(size / 512).expect("a small file");

    let producer = producers.spawn_on_a_full_disk(blocks, &LIFE.to_string());
    let refused = async || {
        let refused = producers.all_notes();
        let refused = refused.values().filter(|kept| *kept == "refused").count();
        (5 <= refused).then_some(())
    };
    eventually("the disk is full", refused).await;
    drop(producer);
    stage.redis.restart().await;
    let mut last = producers.spawn("drain");
    let status = eventually("the spool is empty", async || last.0.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");
    let (arrived, notes) = (arrived(&stage.redis).await, producers.notes());
    assert!(arrived.is_sorted_by(|one, other| one < other));
    for (number, kept) in &notes {
        let found = arrived.binary_search(number);
        assert!(found.is_ok(), "{number} is lost, though {kept}");
    }
}
