//! One redis-server, or several, with the workers, gates and journal of one test.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use lovage::Client;
use lovage_core::{DeadLetter, TaskId, secs};
use lovage_test_redis::RedisServer;
use tempfile::TempDir;

use crate::audit::Audit;
use crate::journal::Journal;
use crate::process::ProcessBuilder;
use crate::servers::Servers;
use crate::tasks::part_of;
use crate::until::{eventually, eventually_ok};

/// The queue that most tests use.
pub(crate) const QUEUE: &str = "default";

/// Where a test plays: its own server or servers, its own folder.
#[derive(Debug)]
pub struct Stage<R = RedisServer> {
    /// The server, or the servers.
    pub redis: R,
    /// What the workers' tasks wrote.
    pub journal: Journal,
    worker: PathBuf,
    beat: PathBuf,
    folder: TempDir,
    processes: Cell<u32>,
}

impl<R: Servers> Stage<R> {
    /// A stage over `redis` with these programs.
    pub fn over(redis: R, worker: &str, beat: &str) -> Self {
        let folder = TempDir::with_prefix("lovage-stage-").expect("a temporary folder");
        Self {
            redis,
            journal: Journal::in_folder(folder.path()),
            worker: worker.into(),
            beat: beat.into(),
            folder,
            processes: Cell::new(0),
        }
    }

    /// A worker to be started, with its own log, for 8 bodies side by side.
    pub fn worker(&self) -> ProcessBuilder {
        self.process(&self.worker).concurrency(8)
    }

    /// A beat to be started, with its own log.
    pub fn beat(&self) -> ProcessBuilder {
        self.process(&self.beat)
    }

    fn process(&self, program: &Path) -> ProcessBuilder {
        let number = self.processes.get() + 1;
        self.processes.set(number);
        let log = self.folder.path().join(format!("process-{number}.log"));
        ProcessBuilder::new(program, self.journal.path(), log, &self.redis.url())
    }

    /// The folder of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of the server, as patient as the tests are.
    pub async fn client(&self) -> Client {
        Client::builder(self.redis.url())
            .deadline(secs(20))
            .connect()
            .await
            .expect("the server answers")
    }

    /// The dead letters of the usual queue.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let client = self.client().await;
        let dead = client.dead_letters_of(QUEUE).expect("a name");
        dead.list(0, 1000).await.expect("the server answers")
    }

    /// A gate that bodies wait at, closed.
    pub fn gate(&self, name: &str) -> Gate {
        Gate(self.folder.path().join(format!("gate-{name}")))
    }

    /// All keys of the usual queue at this instant.
    pub async fn audit(&self) -> Audit {
        self.audit_of(QUEUE).await
    }

    /// All keys of a queue at this instant.
    pub async fn audit_of(&self, queue: &str) -> Audit {
        let holder = self.redis.holder(&format!("lovage:{queue}")).await;
        Audit::of(holder, queue).await
    }

    /// Waits until `count` workers are known to the usual queue.
    pub async fn known_workers(&self, count: usize) {
        eventually(&format!("{count} workers are registered"), async || {
            (self.audit().await.identities().len() == count).then_some(())
        })
        .await;
    }

    /// Waits until the task has started `times` times.
    pub async fn started(&self, id: TaskId, times: usize) {
        eventually(&format!("start {times} of {id}"), async || {
            (times <= self.journal.starts(id).len()).then_some(())
        })
        .await;
    }

    /// Waits until the task has ended.
    pub async fn ended(&self, id: TaskId) {
        eventually(&format!("{id} ends"), async || {
            (!self.journal.ends(id).is_empty()).then_some(())
        })
        .await;
    }

    /// Waits until every task of the usual queue is gone or dead, and no trace is left of the others.
    pub async fn at_rest(&self) -> Audit {
        eventually_ok("nothing is left but dead letters", async || {
            let audit = self.audit().await;
            audit.at_rest()?;
            Ok(audit)
        })
        .await
    }
}

/// A file that bodies wait for.
#[derive(Clone, Debug)]
pub struct Gate(PathBuf);

impl Gate {
    /// Its path, as a task takes it.
    pub fn path(&self) -> String {
        path_text(&self.0)
    }

    /// Lets the bodies that wait at it go on.
    pub fn open(&self) {
        fs::write(&self.0, "").expect("the folder is there");
    }

    /// Lets only the runs with as many losses go on.
    pub fn open_for(&self, losses: u32) {
        fs::write(part_of(&self.path(), losses), "").expect("the folder is there");
    }
}

fn path_text(path: &Path) -> String {
    path.to_str()
        .expect("temporary folders have plain names")
        .to_owned()
}
