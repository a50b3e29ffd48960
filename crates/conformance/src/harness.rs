//! What a law needs of the broker under test.

use std::future::Future;

use lovage_core::{
    Callbacks, Checkup, Clock, Control, DeadLetters, Durable, Inspect, Membership, Partitioning,
    Partitions, Reports, Results, Schedules, TaskId,
};

/// A broker that keeps the whole contract.
pub trait WholeBroker:
    Membership
    + Results
    + Control
    + Inspect
    + DeadLetters
    + Reports
    + Schedules
    + Durable
    + Partitioning
    + Callbacks
    + Checkup
{
}

impl<B> WholeBroker for B where
    B: Membership
        + Results
        + Control
        + Inspect
        + DeadLetters
        + Reports
        + Schedules
        + Durable
        + Partitioning
        + Callbacks
        + Checkup
{
}

/// The queues that laws speak of.
pub const QUEUES: [&str; 4] = ["mail", "reports", "other", "none"];

/// Makes a broker for one law, and keeps alive what it runs on.
pub trait Harness: Send + Sync + 'static {
    /// The broker under test.
    type Broker: WholeBroker;

    /// A handle on a broker that holds nothing and goes by `clock`.
    fn start(&mut self, clock: Clock) -> impl Future<Output = Self::Broker> + Send;

    /// How many partitions each of [`QUEUES`] has there.
    fn partitions(&self) -> Partitions {
        Partitions::ONE
    }

    /// Tells for which law it is.
    #[must_use]
    fn of_law(self, _law: &str) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// The id of another task. Of a queue with partitions every law holds where all tasks are in one; most hold wherever
    /// they are.
    fn id(&self) -> TaskId {
        TaskId::random()
    }
}
