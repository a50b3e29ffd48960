//! A broker behind the network of the simulation: the same contract, with all that can go wrong on the way.

mod callbacks;
mod schedules;

use std::future::Future;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Awaited, Broker, BrokerError, Cancelled, Claim, Control, Counts, DeadLetter, Encoded,
    EnqueueError, Enqueued, Fence, Inspect, Membership, Outcome, Place, QueueName, Recovered,
    Renewal, Rescheduled, Results, Retention, Revived, Scheduled, Settled, Settlement, TaskId,
    Verdict, When, WorkerId,
};

use crate::flaw::Flaw;
use crate::history::{Said, What};
use crate::network::Network;
use crate::process::Process;

/// The handle of one process on the broker `B`.
#[derive(Clone, Debug)]
pub struct Faulty<B> {
    inner: B,
    process: Arc<Process>,
    network: Arc<Network>,
    flaw: Flaw,
}

impl<B: Broker> Faulty<B> {
    /// A handle for `process` on `inner`, at the other end of `network`.
    pub fn new(inner: B, process: Arc<Process>, network: Arc<Network>, flaw: Flaw) -> Self {
        Self {
            inner,
            process,
            network,
            flaw,
        }
    }

    /// Makes a call on the broker, after some time, perhaps.
    async fn carry<T, E, F>(&self, call: impl FnOnce(B) -> F + Send + 'static) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        T: Send + 'static,
        E: From<BrokerError> + Send + 'static,
    {
        let inner = self.inner.clone();
        self.network.carry(&self.process, move || call(inner)).await
    }
}

impl<B: Membership + Inspect + Control> Broker for Faulty<B> {
    async fn enqueue(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        let (queue, history, flaw) = (queue.clone(), Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let ids: Vec<TaskId> = tasks.iter().map(Encoded::id).collect();
            let answers = if flaw.loses_the_task() {
                vec![Enqueued::New; ids.len()]
            } else {
                let tasks = tasks.into_iter().map(|task| flaw.sends(task)).collect();
                let answers = broker.enqueue(&queue, tasks).await?;
                answers
                    .into_iter()
                    .map(|answer| flaw.answers(answer))
                    .collect()
            };
            for (id, answer) in ids.into_iter().zip(&answers) {
                history.note(match answer {
                    Enqueued::New => What::Stored(queue.clone(), id),
                    answer => What::Answered(id, *answer),
                });
            }
            Ok(answers)
        })
        .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        max: NonZeroU16,
    ) -> Result<Claim, BrokerError> {
        let (queue, history, flaw) = (queue.clone(), Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let mut claim = broker.claim(worker, &queue, max).await?;
            if let Claim::Granted(batch) = &mut claim {
                for delivery in &mut batch.deliveries {
                    delivery.fence = flaw.fence(delivery.fence);
                    history.held(&queue, delivery.id);
                    history.note(What::Claimed {
                        by: history.identity(worker),
                        id: delivery.id,
                        fence: delivery.fence,
                        losses: delivery.losses,
                        snoozes: delivery.snoozes,
                    });
                }
            }
            Ok(claim)
        })
        .await
    }

    async fn settle(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        settlements: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        let (queue, history, flaw) = (queue.clone(), Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let (worker, settlements) = flaw
                .settles_as(&broker, &history.workers(), worker, &queue, settlements)
                .await;
            let said: Vec<_> = settlements
                .iter()
                .map(|settlement| (settlement.id, settlement.fence, said(&settlement.verdict)))
                .collect();
            let held = broker.holdings(worker, &queue).await?;
            let settlements = settlements
                .into_iter()
                .map(|one| flaw.settles(one))
                .collect();
            let settled = broker.settle(worker, &queue, settlements).await?;
            for (id, fence, verdict) in &said {
                // The answer does not tell two verdicts on one task apart.
                let stale = if said.iter().filter(|(other, ..)| other == id).count() == 1 {
                    settled.stale.contains(id)
                } else {
                    !held.contains(&(*id, flaw.fence(*fence)))
                };
                history.note(What::Settled {
                    by: history.identity(worker),
                    id: *id,
                    fence: *fence,
                    verdict: *verdict,
                    stale,
                });
            }
            Ok(settled)
        })
        .await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), BrokerError> {
        self.network.disturb(&self.process).await?;
        self.inner.wait(queue, at_most).await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Renewal, BrokerError> {
        let (queue, network, flaw) = (queue.clone(), Arc::clone(&self.network), self.flaw);
        self.carry(move |broker| async move {
            let given = flaw.lease(lease);
            let renewal = broker.renew(worker, &queue, given).await?;
            if let Renewal::Held { .. } = &renewal {
                let by = network.history.identity(worker);
                let until = network.history.now().plus(lease);
                network.note(What::Leased(by, until));
            }
            Ok(renewal)
        })
        .await
    }

    async fn recover(
        &self,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<Recovered, BrokerError> {
        let (queue, history, flaw) = (queue.clone(), Arc::clone(&self.network.history), self.flaw);
        self.carry(move |broker| async move {
            let recovered = broker.recover(&queue, patience).await?;
            flaw.brings_back(&broker, &queue, &recovered).await?;
            for id in history.active(&queue) {
                let place = broker.state(&queue, id).await?;
                if place != Place::Active {
                    history.note(What::Taken(id, place));
                }
            }
            Ok(recovered)
        })
        .await
    }
}

impl<B: Membership + Inspect + Control> Membership for Faulty<B> {
    async fn register(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<(), BrokerError> {
        let (queue, network, flaw) = (queue.clone(), Arc::clone(&self.network), self.flaw);
        self.carry(move |broker| async move {
            broker.register(worker, &queue, flaw.lease(lease)).await?;
            let by = network.history.identity(worker);
            let until = network.history.now().plus(lease);
            network.note(What::Leased(by, until));
            Ok(())
        })
        .await
    }

    async fn holdings(
        &self,
        worker: WorkerId,
        queue: &QueueName,
    ) -> Result<Vec<(TaskId, Fence)>, BrokerError> {
        let (queue, flaw) = (queue.clone(), self.flaw);
        self.carry(move |broker| async move {
            let held = broker.holdings(worker, &queue).await?;
            let held = held.into_iter().map(|(id, fence)| (id, flaw.fence(fence)));
            Ok(held.collect())
        })
        .await
    }

    async fn retire(&self, worker: WorkerId, queue: &QueueName) -> Result<bool, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.retire(worker, &queue).await })
            .await
    }

    async fn report(
        &self,
        worker: WorkerId,
        queue: &QueueName,
        report: Bytes,
    ) -> Result<bool, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.report(worker, &queue, report).await })
            .await
    }

    async fn retain(&self, queue: &QueueName, retention: Retention) -> Result<(), BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.retain(&queue, retention).await })
            .await
    }

    async fn separate(&self) -> Result<Self, BrokerError> {
        self.network.disturb(&self.process).await?;
        Ok(self.clone())
    }
}

impl<B: Membership + Inspect + Control + Results> Results for Faulty<B> {
    async fn outcome(
        &self,
        queue: &QueueName,
        id: TaskId,
        at_most: Duration,
    ) -> Result<Awaited, BrokerError> {
        self.network.disturb(&self.process).await?;
        self.network.keep_time();
        let awaited = self.inner.outcome(queue, id, at_most).await?;
        // The answer may be lost as well.
        self.network.disturb(&self.process).await?;
        Ok(awaited)
    }
}

impl<B: Membership + Inspect + Control> Control for Faulty<B> {
    async fn cancel(&self, queue: &QueueName, id: TaskId) -> Result<Cancelled, BrokerError> {
        let (queue, network, flaw) = (queue.clone(), Arc::clone(&self.network), self.flaw);
        self.carry(move |broker| async move {
            let cancelled = flaw.cancels(&broker, &queue, id).await?;
            match cancelled {
                Cancelled::Removed => network.note(What::Cancelled(id, Place::Gone)),
                Cancelled::Marked => network.note(What::Cancelled(id, Place::Active)),
                Cancelled::Unknown => {}
            }
            Ok(cancelled)
        })
        .await
    }

    async fn revive(&self, queue: &QueueName, id: TaskId) -> Result<Revived, BrokerError> {
        let (queue, network) = (queue.clone(), Arc::clone(&self.network));
        self.carry(move |broker| async move {
            let revived = broker.revive(&queue, id).await?;
            network.note(What::Revived(id, revived));
            Ok(revived)
        })
        .await
    }

    async fn reschedule(
        &self,
        queue: &QueueName,
        id: TaskId,
        when: When,
    ) -> Result<Rescheduled, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.reschedule(&queue, id, when).await })
            .await
    }

    async fn bound(&self, queue: &QueueName, tasks_max: Option<u64>) -> Result<(), BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.bound(&queue, tasks_max).await })
            .await
    }
}

impl<B: Membership + Inspect + Control> Inspect for Faulty<B> {
    async fn state(&self, queue: &QueueName, id: TaskId) -> Result<Place, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.state(&queue, id).await })
            .await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.counts(&queue).await })
            .await
    }

    async fn scheduled(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Scheduled>, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.scheduled(&queue, offset, limit).await })
            .await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        let queue = queue.clone();
        self.carry(move |broker| async move { broker.dead_letters(&queue, offset, limit).await })
            .await
    }
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Done {
            outcome: Outcome::Expired,
            ..
        } => Said::Expired,
        Verdict::Done { .. } => Said::Done,
        Verdict::RetryIn(span) => Said::RetryIn(*span),
        Verdict::Park(span) => Said::Parked(*span),
        Verdict::Snooze(span) => Said::Snoozed(*span),
        Verdict::Bury(_) => Said::Buried,
        _ => Said::Released,
    }
}

/// Those of `ids` that the queue does not hold.
async fn gone<B: Inspect>(broker: &B, queue: &QueueName, ids: &[TaskId]) -> Vec<TaskId> {
    let mut gone = Vec::new();
    for id in ids {
        if let Ok(Place::Gone) = broker.state(queue, *id).await {
            gone.push(*id);
        }
    }
    gone
}
