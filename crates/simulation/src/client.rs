//! The senders: they repeat what may be repeated, take some tasks back, and wait for outcomes.

use std::time::Duration;

use lovage_core::{
    Ack, Awaited, Broker, Control, EnqueueError, Outcome, Results, TaskId, ms, secs,
};
use tokio::time::{sleep, timeout};

use crate::history::What;
use crate::network::Network;
use crate::work::Job;

/// How often a send without a good answer is repeated.
const SENDS_MAX: u32 = 40;

/// Sends one job and looks after it.
pub async fn send<B: Broker + Control + Results>(broker: B, network: &Network, job: Job) {
    sleep(job.sent_after).await;
    let (id, queue) = (job.envelope.id, job.envelope.queue.clone());
    if !accepted(&broker, &job).await {
        return;
    }
    network.note(What::Accepted(id));
    if let Some(after) = job.cancelled_after {
        sleep(after).await;
        // Its answer may be lost; then it is cancelled or not.
        let _ = broker.cancel(&queue, id).await;
    }
    if job.awaited {
        network.note(What::Told(id, outcome(&broker, &job).await));
    }
}

async fn accepted<B: Broker>(broker: &B, job: &Job) -> bool {
    for _ in 0..SENDS_MAX {
        let Ok(encoded) = job.envelope.encode() else {
            return false;
        };
        match broker.enqueue(&job.envelope.queue, vec![encoded]).await {
            Ok(_) => return true,
            // It may have run already: sending it again could start it twice.
            Err(EnqueueError::Unknown(_)) if job.envelope.ack == Ack::Early => return false,
            Err(_) => sleep(ms(300)).await,
        }
    }
    false
}

async fn outcome<B: Results>(broker: &B, job: &Job) -> &'static str {
    const AT_MOST: Duration = secs(20);
    loop {
        let asked = broker.outcome(&job.envelope.queue, job.envelope.id, AT_MOST);
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
