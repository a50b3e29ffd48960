//! The schedules' side of the broker, behind the same network.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, BeatId, BeatRole, BrokerError, Control, Encoded, EnqueueError, Forwarded,
    Inspect, Lead, Leader, Looked, Membership, Outgoing, QueueName, ScheduleName, Schedules,
    StoredSchedule, TaskId,
};

use super::{Faulty, gone};
use crate::history::What;

impl<B: Membership + Inspect + Control + Schedules> Schedules for Faulty<B> {
    async fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> Result<Lead, BrokerError> {
        self.carry(move |broker| async move { broker.lead(beat, lease, max).await })
            .await
    }

    async fn resign(&self, beat: BeatId) -> Result<(), BrokerError> {
        self.carry(move |broker| async move { broker.resign(beat).await })
            .await
    }

    async fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Amended>, BrokerError> {
        let (history, flaw) = (Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let amendments = flaw.amends(amendments);
            let sent = |amendment: &Amendment| -> Vec<TaskId> {
                let encoded = amendment.sends.iter().map(|(_, task)| task);
                encoded.map(Encoded::id).collect()
            };
            let fired: Vec<_> = amendments.iter().map(sent).collect();
            let answers = broker.amend(epoch, amendments).await?;
            for (ids, answer) in fired.into_iter().zip(&answers) {
                if let Amended::Done(_) = answer {
                    for id in ids {
                        history.note(What::Fired(id));
                    }
                }
            }
            Ok(answers)
        })
        .await
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
        let name = name.clone();
        self.carry(move |broker| async move { broker.schedule(&name).await })
            .await
    }

    async fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
        let after = after.cloned();
        self.carry(move |broker| async move { broker.schedules(after.as_ref(), limit).await })
            .await
    }

    async fn firings(&self, name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError> {
        let name = name.clone();
        self.carry(move |broker| async move { broker.firings(&name, limit).await })
            .await
    }

    async fn leader(&self) -> Result<Option<Leader>, BrokerError> {
        self.carry(move |broker| async move { broker.leader().await })
            .await
    }

    async fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Vec<Outgoing>, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.outbox(&queue, max).await })
            .await
    }

    async fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> Result<Forwarded, EnqueueError> {
        let (queue, history) = (queue.clone(), Arc::clone(&self.network.history));
        self.carry(move |broker| async move {
            let ids: Vec<TaskId> = outgoing.iter().map(|outgoing| outgoing.id).collect();
            let new = gone(&broker, &queue, &ids).await;
            let forwarded = broker.forward(&queue, outgoing).await?;
            let not_stored = gone(&broker, &queue, &new).await;
            for id in new.into_iter().filter(|id| !not_stored.contains(id)) {
                history.note(What::Stored(queue.clone(), id));
            }
            Ok(forwarded)
        })
        .await
    }

    async fn forwarded(&self, queue: &QueueName, up_to: u64) -> Result<bool, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.forwarded(&queue, up_to).await })
            .await
    }

    async fn await_turn(&self, role: BeatRole, at_most: Duration) -> Result<(), BrokerError> {
        self.network.disturb(&self.process).await?;
        self.inner.await_turn(role, at_most).await
    }
}
