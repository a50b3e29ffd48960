//! Callbacks over the network of the simulation.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{
    BrokerError, Callbacks, Control, Inspect, Membership, Millis, Owed, QueueName, TaskId,
};

use super::Faulty;
use crate::history::What;

impl<B: Membership + Inspect + Control + Callbacks> Callbacks for Faulty<B> {
    async fn owed(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
        patience: Duration,
    ) -> Result<Vec<Owed>, BrokerError> {
        let (queue, history, flaw) = (queue.clone(), Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let owed = broker.owed(&queue, max, patience).await?;
            for one in &owed {
                if let Some(call) = one.callback() {
                    history.note(What::Owed {
                        id: one.letter.id,
                        died_at: one.letter.died_at,
                        call: call.id,
                    });
                }
            }
            flaw.forgets(&broker, &queue, &owed).await?;
            Ok(owed)
        })
        .await
    }

    async fn called_back(
        &self,
        queue: &QueueName,
        deaths: Vec<(TaskId, Millis)>,
    ) -> Result<(), BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.called_back(&queue, deaths).await })
            .await
    }
}
