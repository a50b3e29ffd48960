//! Takes back what lost workers held: on every worker, for all its queues, since nobody else is there to do it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lovage_core::{Broker, Loss};
use tokio::time::sleep;

use crate::stats::Counters;
use crate::tenure::Seat;

/// The most calls in one round: a worker that died with very many tasks does not hold up the lease thread.
const CALLS_MAX: u32 = 100;

/// Looks every `patience`, as two looks that far apart find the same lease ended before anything is taken.
pub(crate) async fn recover_forever<B: Broker>(
    broker: &B,
    seats: &[Arc<Seat>],
    patience: Duration,
    counters: &Counters,
) {
    join_all(
        seats
            .iter()
            .map(|seat| recover_queue(broker, seat, patience, counters)),
    )
    .await;
}

async fn recover_queue<B: Broker>(
    broker: &B,
    seat: &Seat,
    patience: Duration,
    counters: &Counters,
) {
    let mut trouble = seat.trouble();
    loop {
        // Workers that started together do not look together.
        sleep(patience.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        let (mut released, mut buried, mut callbacks) = (0, 0, false);
        for _ in 0..CALLS_MAX {
            match broker.recover(&seat.queue, patience).await {
                Ok(recovered) => {
                    trouble.worked(&seat.queue);
                    released += recovered.released;
                    buried += recovered.buried;
                    counters.cut(&seat.queue, &recovered.cut);
                    tell_losses(seat, &recovered.losses);
                    callbacks |= recovered.callbacks;
                    if !recovered.more {
                        break;
                    }
                }
                Err(error) => {
                    trouble.failed(&seat.queue, "recover", &error);
                    break;
                }
            }
        }
        if callbacks {
            seat.ask_callbacks();
        }
        if 0 < released + buried {
            tracing::warn!(
                queue = %seat.queue, released, buried,
                "took back what lost workers held"
            );
        }
    }
}

/// The most tasks that are named for one lost worker; the ledger has them all.
const NAMED_MAX: usize = 5;

/// One warning a lost worker, and what it was at.
fn tell_losses(seat: &Seat, losses: &[Loss]) {
    let mut rest = losses;
    while let Some(first) = rest.first() {
        let lost = &first.worker;
        let (own, others) = rest.split_at(
            rest.iter()
                .position(|loss| loss.worker.id != lost.id)
                .unwrap_or(rest.len()),
        );
        rest = others;
        let named: Vec<String> = own.iter().take(NAMED_MAX).map(described).collect();
        tracing::warn!(
            queue = %seat.queue, worker = %lost.id, name = lost.name, host = lost.host, pid = lost.pid,
            version = lost.version, build = lost.build, rss_bytes = lost.rss_bytes, tasks = own.len(),
            first = ?named, "a worker was lost with its tasks"
        );
    }
}

fn described(loss: &Loss) -> String {
    let mut text = loss.id.to_string();
    if let (Some(task), Some(ran)) = (&loss.task, loss.ran) {
        text = format!("{text} {task}, ran for {ran:?}");
    }
    if let Some(progress) = &loss.progress {
        text = format!("{text}, at {progress}");
    }
    text
}
