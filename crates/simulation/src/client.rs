//! The senders: they repeat what may be repeated, take some tasks back, revive some, and wait for outcomes.

use std::time::Duration;

use lovage_core::{
    Awaited, Broker, Control, EnqueueError, Outcome, QueueName, Results, TaskId, ms, secs,
};
use tokio::time::{sleep, timeout};

use crate::history::What;
use crate::network::Network;
use crate::work::Job;

/// How often a send without a good answer is repeated.
const SENDS_MAX: u32 = 40;

/// Sends one job and looks after it, under the id by which the broker knows it.
pub async fn send<B: Broker + Control + Results>(broker: B, network: &Network, job: Job) {
    sleep(job.sent_after).await;
    let queue = &job.envelope.queue;
    let Some(id) = accepted(&broker, network, &job).await else {
        return;
    };
    let cancelled = async {
        if let Some(after) = job.cancelled_after {
            sleep(after).await;
            // Its answer may be lost; then it is cancelled or not.
            let _ = broker.cancel(queue, id).await;
        }
        if job.awaited {
            let told = outcome(&broker, queue, id).await;
            network.note(What::Told(id, told));
        }
    };
    let repeated = async {
        if let Some(after) = job.repeated_after {
            sleep(after).await;
            accepted(&broker, network, &job).await;
        }
    };
    let revived = async {
        if let Some(after) = job.revived_after {
            sleep(after).await;
            let _ = broker.revive(queue, id).await;
        }
    };
    tokio::join!(biased; cancelled, repeated, revived);
}

/// Sends it until it is accepted; answers under which id it is.
async fn accepted<B: Broker>(broker: &B, network: &Network, job: &Job) -> Option<TaskId> {
    let encoded = job.envelope.encode().ok()?;
    for _ in 0..SENDS_MAX {
        let sent = broker.enqueue(&job.envelope.queue, vec![encoded.clone()]);
        match sent.await {
            Ok(answers) => {
                let id = answers[0].id(job.envelope.id);
                network.note(What::Accepted(id));
                return Some(id);
            }
            // It may have run already: sending it again could start it twice.
            Err(EnqueueError::Unknown(_)) if !encoded.may_be_repeated() => return None,
            Err(_) => sleep(ms(300)).await,
        }
    }
    None
}

async fn outcome<B: Results>(broker: &B, queue: &QueueName, id: TaskId) -> &'static str {
    const AT_MOST: Duration = secs(20);
    loop {
        let asked = broker.outcome(queue, id, AT_MOST);
        // Waits have no answer from a broker that is cut off.
        match timeout(AT_MOST + secs(1), asked).await {
            Ok(Ok(Awaited::Outcome(bytes))) => {
                return match Outcome::decode(&bytes) {
                    Ok(Outcome::Done(_)) => "done",
                    Ok(Outcome::Failed(_)) => "failed",
                    Ok(Outcome::Cancelled) => "cancelled",
                    Ok(Outcome::Expired) => "expired",
                    _ => "unreadable",
                };
            }
            Ok(Ok(Awaited::Unknown)) => return "unknown",
            Ok(Ok(Awaited::TimedOut)) | Err(_) => {}
            Ok(Err(_)) => sleep(ms(500)).await,
        }
    }
}

/// Whether `id` is one of a sender's, and not of a schedule's.
pub fn is_sent(id: TaskId) -> bool {
    id.as_bytes().starts_with(&[0; 8])
}
