//! A spool: tasks that the broker cannot take now are kept on this host's disk, and sent in their order once it can.
//!
//! [`SpoolConfig`] switches it on for a client. `entry` is one kept task, `store` the file, `keeper` the thread that
//! alone touches it, `drain` the loop that sends, `send` the way of a send through all that.

mod drain;
mod entry;
mod keeper;
mod send;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{Millis, QueueName, TaskId, TransportError};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::any_broker::AnyBroker;
pub(crate) use entry::Entry;
pub(crate) use keeper::{AppendError, Keeper};

/// Where a client spools, and how much.
///
/// ```no_run
/// use lovage::prelude::*;
/// use lovage::SpoolConfig;
///
/// # async fn f() -> anyhow::Result<()> {
/// let spool = SpoolConfig::at("/var/lib/shop/spool").tasks_max(50_000);
/// let client = Client::builder("redis://localhost").spool(spool).connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    folder: PathBuf,
    tasks_max: u64,
    bytes_max: u64,
}

impl SpoolConfig {
    /// Spools into `folder`, which is made if it is not there, readable by its owner alone. It belongs to one process
    /// at a time, and to one broker and namespace for ever.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            tasks_max: 100_000,
            bytes_max: 256 * 1024 * 1024,
        }
    }

    /// Keeps at most so many tasks, those set aside included; 100,000 unless set.
    pub fn tasks_max(mut self, tasks: u64) -> Self {
        self.tasks_max = tasks;
        self
    }

    /// Keeps at most so many bytes of envelopes, those set aside included; 256 MiB unless set. The file is several
    /// times as large, and does not shrink.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process uses the folder.
    #[error("the spool {} is used by another process; give each process a folder of its own", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The file is damaged, or none of ours. Nothing in it was changed.
    #[error(
        "the spool {} cannot be read: {reason}; nothing was changed: move the folder away to begin with an empty one",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk refused, or does not answer.
    #[error("the spool cannot be used: {0}")]
    Io(#[source] TransportError),
}

/// What a spool holds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpoolStats {
    /// Tasks that wait for the broker.
    pub tasks: u64,
    /// The bytes of their envelopes.
    pub bytes: u64,
    /// When the oldest of them was sent, by this host's clock.
    pub oldest: Option<Millis>,
    /// Tasks that were set aside.
    pub aside: u64,
    /// The bytes of their envelopes.
    pub aside_bytes: u64,
}

/// A task that is kept, and that the spool does not send by itself any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// Its queue.
    pub queue: QueueName,
    /// Its number in the spool.
    pub number: u64,
    /// The task; `None` where its entry cannot be read.
    pub id: Option<TaskId>,
    /// Why.
    pub reason: String,
}

/// The spool of a client; see [`Client::spool`](crate::Client::spool). Clones are the same spool.
///
/// Each send of a client with a spool goes to the broker, unless tasks of its queue wait in the spool: then it goes
/// behind them. What the broker refuses for now, or does not answer for, is kept here, and on disk before the send is
/// answered `Ok`; [`Handle::is_spooled`](crate::Handle::is_spooled) tells.
///
/// # Cancel safety
/// All methods are cancel safe.
#[derive(Clone, Debug)]
pub struct Spool {
    pub(crate) keeper: Keeper,
    _drain: Arc<Drain>,
}

/// The loop that sends; it ends with the last client.
#[derive(Debug)]
struct Drain(AbortHandle);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Spool {
    pub(crate) async fn open(config: SpoolConfig, broker: &AnyBroker) -> Result<Self, SpoolError> {
        let keeper = Keeper::open(config).await?;
        let drain = tokio::spawn(drain::run(keeper.clone(), broker.clone()));
        Ok(Self {
            keeper,
            _drain: Arc::new(Drain(drain.abort_handle())),
        })
    }

    /// What it holds now.
    pub fn stats(&self) -> SpoolStats {
        self.keeper.stats()
    }

    /// Waits until nothing waits for the broker any more, at most `at_most`; answers whether that is so. A producer
    /// that is about to end may wait here; it need not, as the next one on the same folder goes on. An at-most-once task
    /// that travels when it ends is set aside.
    pub async fn emptied(&self, at_most: Duration) -> bool {
        timeout(at_most, self.keeper.until_empty()).await.is_ok()
    }

    /// The tasks that were set aside, in the order of their queues and numbers, at most `limit`: those that the broker
    /// refuses for good, at-most-once tasks whose answer was lost or without the confirmation they were sent for, and
    /// entries that cannot be read.
    pub async fn set_aside(&self, limit: usize) -> Result<Vec<SetAside>, SpoolError> {
        self.keeper.list_aside(limit).await
    }

    /// Lets a task that was set aside wait for the broker again, in its old place; `false` if there is none such.
    pub async fn put_back(&self, queue: &QueueName, number: u64) -> Result<bool, SpoolError> {
        self.keeper.put_back(queue, number).await
    }

    /// Deletes a task that was set aside; `false` if there is none such.
    pub async fn discard(&self, queue: &QueueName, number: u64) -> Result<bool, SpoolError> {
        self.keeper.forget(queue, number).await
    }
}
