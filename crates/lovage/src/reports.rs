//! Looking at workers, and at what was lost with them, by a client.

use lovage_core::{KnownWorker, Looked, Loss, QueueName, Reports};

use crate::client::Client;
use crate::error::ControlError;

impl Client {
    /// The workers that `queue` knows, with what each last said of itself, from number `offset` on, at most `limit`;
    /// fewer where their reports are large; and the broker's time. Empty where there are no more.
    pub async fn workers(
        &self,
        queue: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Looked<Vec<KnownWorker>>, ControlError> {
        let queue = QueueName::parse(queue)?;
        let workers = || self.broker().workers(&queue, offset, limit);
        Ok(self.within(workers).await?)
    }

    /// What was lost with the workers of `queue`, newest first, from number `offset` on, at most `limit`. The last
    /// thousand losses are remembered.
    pub async fn losses(
        &self,
        queue: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Loss>, ControlError> {
        let queue = QueueName::parse(queue)?;
        let losses = || self.broker().losses(&queue, offset, limit);
        Ok(self.within(losses).await?)
    }
}
