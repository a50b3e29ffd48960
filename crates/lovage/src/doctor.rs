//! The doctor: looks whether all that is stored is in order, on a live system, and puts right what is not.
//!
//! ```
//! # use lovage::prelude::*;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! let client = Client::connect("memory://").await?;
//! let report = client.doctor().examine().await?;
//! assert!(report.is_healthy(), "{report}");
//! # Ok(()) }
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use lovage_core::{BrokerError, CheckMode, NameError, QueueName, ms};
pub use lovage_core::{Finding, FindingKind, ServerLook};

use crate::client::Client;

mod queue;
mod report;
mod round;

pub use report::Report;

/// The most ids of one queue, or partition, that are looked at unless another number is set: 100 bytes of this process's
/// memory each.
pub const IDS_MAX_DEFAULT: usize = 1_000_000;
/// The most calls of one examination unless another number is set.
pub const CALLS_MAX_DEFAULT: u64 = 100_000;
/// How long nothing is asked between two calls unless another span is set.
pub const PAUSE_DEFAULT: Duration = ms(2);

/// An examination that is being put together: see [`Client::doctor`].
#[derive(Clone, Debug)]
#[must_use = "call examine()"]
pub struct Doctor {
    client: Client,
    /// All that are found, if empty.
    queues: BTreeSet<QueueName>,
    mode: CheckMode,
    ids_max: usize,
    calls_max: u64,
    pause: Duration,
}

impl Client {
    /// An examination of what the broker stores: the invariants of queues and schedules, and the servers' settings.
    ///
    /// A healthy system has no findings, however busy it is (docs/doctor.md has the list).
    pub fn doctor(&self) -> Doctor {
        Doctor {
            client: self.clone(),
            queues: BTreeSet::new(),
            mode: CheckMode::Look,
            ids_max: IDS_MAX_DEFAULT,
            calls_max: CALLS_MAX_DEFAULT,
            pause: PAUSE_DEFAULT,
        }
    }
}

impl Doctor {
    /// Looks at this queue, and at those named besides, alone; at all that are found if none is named.
    pub fn queue(mut self, queue: &str) -> Result<Self, NameError> {
        self.queues.insert(QueueName::parse(queue)?);
        Ok(self)
    }

    /// Puts right what is certain. Each repair is one atomic step that checks once more before it writes.
    pub fn repair(mut self) -> Self {
        self.mode = CheckMode::Repair;
        self
    }

    /// The most ids of one queue, or partition, that are looked at. What is left out is told.
    pub fn ids_max(mut self, ids: usize) -> Self {
        self.ids_max = ids;
        self
    }

    /// The most calls to the broker. What is left out is told.
    pub fn calls_max(mut self, calls: u64) -> Self {
        self.calls_max = calls;
        self
    }

    /// How long nothing is asked between two calls: a live system does not feel an examination that takes its time.
    pub fn pause(mut self, span: Duration) -> Self {
        self.pause = span;
        self
    }

    /// Examines. Each call to the broker ends within the client's deadline; all together take as long as there is to
    /// look at.
    ///
    /// # Errors
    /// The broker could not be reached at all. What it refuses or does not answer later on is told in the report.
    ///
    /// # Cancel safety
    /// Dropping the future ends the examination. What was repaired until then is whole.
    pub async fn examine(self) -> Result<Report, BrokerError> {
        round::Round::new(&self).run().await
    }
}
