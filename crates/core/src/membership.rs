//! How a worker becomes known to a queue, compares notes with it, and leaves.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::{Broker, BrokerError, Fence};
use crate::dead_letters::Retention;
use crate::ids::{QueueName, TaskId, WorkerId};

/// What a worker says to its queues beside the six verbs of [`Broker`].
pub trait Membership: Broker {
    /// Makes a fresh identity known to `queue`, with a lease. Claims before that are refused.
    fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The tasks that this worker holds by the queue's account, with the fence of each.
    fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> impl Future<Output = Result<Vec<(TaskId, Fence)>, BrokerError>> + Send;

    /// Ends an identity that holds nothing. One that still holds tasks is left to its lease: answers `false`.
    fn retire(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Another handle on the same data that shares no connection with this one, made for the runtime it is called
    /// on: bulk traffic must not starve lease renewal.
    fn separate(&self) -> impl Future<Output = Result<Self, BrokerError>> + Send;

    /// Says what this worker is and what it is at: an encoded [`WorkerReport`](crate::WorkerReport) that takes the place of
    /// the one before. `false` if the identity is not known, or is dead. It ends with the identity; where that is lost
    /// with tasks, it tells what was lost.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] for more than [`REPORT_BYTES_MAX`](crate::REPORT_BYTES_MAX) bytes.
    fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: Bytes,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Sets how many dead letters `queue` keeps, for all its workers: what was set before is replaced.
    ///
    /// What is beyond it already is cut by the next rounds of recovery.
    fn retain(
        &self,
        queue: &QueueName,
        retention: Retention,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}
