//! What a law needs of the broker under test.

use std::future::Future;

use lovage_core::{Clock, Control, DeadLetters, Durable, Inspect, Membership, Results, Schedules};

/// A broker that keeps the whole contract.
pub trait WholeBroker:
    Membership + Results + Control + Inspect + DeadLetters + Schedules + Durable
{
}

impl<B> WholeBroker for B where
    B: Membership + Results + Control + Inspect + DeadLetters + Schedules + Durable
{
}

/// Makes a broker for one law, and keeps alive what it runs on.
pub trait Harness: Send + Sync + 'static {
    /// The broker under test.
    type Broker: WholeBroker;

    /// A handle on a broker that holds nothing and goes by `clock`.
    fn start(&mut self, clock: Clock) -> impl Future<Output = Self::Broker> + Send;
}
