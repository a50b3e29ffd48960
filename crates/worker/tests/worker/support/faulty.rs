//! A broker that loses answers.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Broker, BrokerError, CancellationToken, Claim, Encoded, EnqueueError, Enqueued, Fence,
    Membership, QueueName, Recovered, Renewal, Retention, Settled, Settlement, TaskId,
    TransportError, WorkerId, ms,
};

use super::callbacks;

/// A memory broker that can lose answers, be away, or never answer.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(super) inner: MemoryBroker,
    pub(crate) faults: Arc<Faults>,
}

pub(crate) type Corruption = fn(&mut Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Claims are made, and their answers lost.
    pub(crate) lose_claims: AtomicBool,
    /// Claims are made, and not answered for as long.
    pub(crate) late_claims: AtomicBool,
    /// Settlements are made, and their answers lost.
    pub(crate) lose_settles: AtomicBool,
    /// Settlements are refused.
    pub(crate) refuse_settles: AtomicBool,
    pub(crate) refused_settles: AtomicUsize,
    /// Nothing happens, nothing is answered but errors.
    pub(crate) away: AtomicBool,
    /// Claims panic, in the main loop.
    pub(crate) claims_panic: AtomicBool,
    /// Renewals panic, on the thread of the lease.
    pub(crate) renewals_panic: AtomicBool,
    /// Nothing is answered at all.
    pub(crate) hangs: AtomicBool,
    /// Renewals are refused for good.
    pub(crate) evicted: AtomicBool,
    pub(crate) claims: AtomicUsize,
    pub(crate) claimed_max: AtomicUsize,
    pub(crate) waits: AtomicUsize,
    /// Waits fail at once.
    pub(crate) bells_fail: AtomicBool,
    pub(crate) order: Mutex<Vec<String>>,
    /// Of several tasks only the first is stored, as where one partition of a queue takes tasks and others do not.
    pub(crate) one_partition_only: AtomicBool,
    /// Callbacks are noted only when a worker leaves the queue.
    pub(crate) late_notes: AtomicBool,
    /// They are not noted at all, though the answer says so.
    pub(crate) lost_notes: AtomicBool,
    pub(crate) notes: AtomicUsize,
    /// A task that is sent by itself is stored when a worker leaves the queue, and the next ones never.
    pub(crate) late_sends: AtomicBool,
    pub(crate) single_sends: AtomicUsize,
    pub(super) left: CancellationToken,
    /// What happens to the bytes of every delivery.
    pub(crate) corruption: Mutex<Option<Corruption>>,
}

impl Faulty {
    pub(crate) fn new(inner: MemoryBroker) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    pub(crate) fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, on: bool) {
        fault(&self.faults).store(on, Ordering::SeqCst);
    }

    /// Changes the bytes of every delivery from now on.
    pub(crate) fn corrupt(&self, change: Corruption) {
        *self.faults.corruption.lock().unwrap() = Some(change);
    }

    pub(super) async fn reach(&self) -> Result<(), BrokerError> {
        if self.faults.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.faults.away.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(())
    }
}

fn lost() -> BrokerError {
    BrokerError::Unknown(TransportError::new("the answer was lost"))
}

impl Broker for Faulty {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        self.delay_single_sends(&tasks).await;
        if self.faults.one_partition_only.load(Ordering::SeqCst) {
            return callbacks::enqueue_first(&self.inner, queue, &tasks).await;
        }
        self.inner.enqueue(queue, tasks).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        self.reach().await?;
        assert!(!self.faults.claims_panic.load(Ordering::SeqCst));
        self.faults.claims.fetch_add(1, Ordering::SeqCst);
        self.faults.order.lock().unwrap().push(queue.to_string());
        let mut claim = self.inner.claim(worker, queue, max).await?;
        if let Claim::Granted(batch) = &mut claim {
            if let Some(corrupt) = *self.faults.corruption.lock().unwrap() {
                for delivery in &mut batch.deliveries {
                    let mut bytes = delivery.bytes.to_vec();
                    corrupt(&mut bytes);
                    delivery.bytes = bytes.into();
                }
            }
            let max = &self.faults.claimed_max;
            max.fetch_max(batch.held, Ordering::SeqCst);
        }
        while self.faults.late_claims.load(Ordering::SeqCst) {
            tokio::time::sleep(ms(1)).await;
        }
        if self.faults.lose_claims.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(claim)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        self.reach().await?;
        if self.faults.refuse_settles.load(Ordering::SeqCst) {
            self.faults.refused_settles.fetch_add(1, Ordering::SeqCst);
            return Err(BrokerError::Refused(TransportError::new("full")));
        }
        let settled = self.inner.settle(worker, queue, settlements).await?;
        if self.faults.lose_settles.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(settled)
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        self.reach().await?;
        self.faults.waits.fetch_add(1, Ordering::SeqCst);
        if self.faults.bells_fail.load(Ordering::SeqCst) {
            return Err(BrokerError::Refused(TransportError::new("no bell")));
        }
        self.inner.wait(queue, at_most).await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        self.reach().await?;
        assert!(!self.faults.renewals_panic.load(Ordering::SeqCst));
        if self.faults.evicted.swap(false, Ordering::SeqCst) {
            return Ok(Renewal::Lost);
        }
        self.inner.renew(worker, queue, lease).await
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        self.reach().await?;
        self.inner.recover(queue, patience).await
    }
}

impl Membership for Faulty {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        self.reach().await?;
        self.inner.register(worker, queue, lease).await
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        self.reach().await?;
        self.inner.holdings(worker, queue).await
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        self.reach().await?;
        self.faults.left.cancel();
        self.inner.retire(worker, queue).await
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        Ok(self.clone())
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: bytes::Bytes,
    ) -> Result<bool, BrokerError> {
        self.reach().await?;
        self.inner.report(worker, queue, report).await
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        self.reach().await?;
        self.inner.retain(queue, retention).await
    }
}
