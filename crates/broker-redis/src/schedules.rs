//! The trait [`Schedules`], wired to its transitions.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Amended, Amendment, BeatId, BeatRole, BrokerError, EnqueueError, Forwarded, Lead, Leader,
    Looked, Outgoing, QueueName, ScheduleName, Schedules, StoredSchedule,
};

use crate::broker::RedisBroker;
use crate::partitioned;
use crate::transitions;

impl Schedules for RedisBroker {
    async fn lead(
        &self,
        beat: BeatId,
        lease: Duration,
        max: NonZeroU16,
    ) -> Result<Lead, BrokerError> {
        transitions::lead(&self.shared, beat, lease, max).await
    }

    async fn resign(&self, beat: BeatId) -> Result<(), BrokerError> {
        transitions::resign(&self.shared, beat).await
    }

    async fn amend(
        &self,
        epoch: Option<u64>,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Amended>, BrokerError> {
        transitions::amend(&self.shared, epoch, amendments).await
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Looked<Option<StoredSchedule>>, BrokerError> {
        transitions::schedule(&self.shared, name).await
    }

    async fn schedules(
        &self,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Looked<Vec<StoredSchedule>>, BrokerError> {
        transitions::schedules(&self.shared, after, limit).await
    }

    async fn firings(&self, name: &ScheduleName, limit: usize) -> Result<Vec<Bytes>, BrokerError> {
        transitions::firings(&self.shared, name, limit).await
    }

    async fn leader(&self) -> Result<Option<Leader>, BrokerError> {
        transitions::leader(&self.shared).await
    }

    async fn outbox(
        &self,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Vec<Outgoing>, BrokerError> {
        transitions::outbox(&self.shared, queue, max).await
    }

    async fn forward(
        &self,
        queue: &QueueName,
        outgoing: Vec<Outgoing>,
    ) -> Result<Forwarded, EnqueueError> {
        partitioned::forward(&self.shared, queue, outgoing).await
    }

    async fn forwarded(&self, queue: &QueueName, up_to: u64) -> Result<bool, BrokerError> {
        transitions::forwarded(&self.shared, queue, up_to).await
    }

    async fn await_turn(&self, role: BeatRole, at_most: Duration) -> Result<(), BrokerError> {
        let keys = &self.shared.beat;
        let bell = match role {
            BeatRole::Leader => &keys.bell,
            BeatRole::Standby => &keys.standby,
        };
        self.shared.bells.wait(bell, at_most).await
    }
}
