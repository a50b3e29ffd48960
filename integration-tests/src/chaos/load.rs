//! The producers: they send as fast as the workers keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use lovage::{Ack, Client, Durability, SendError};
use lovage_core::{Clock, TaskId, ms, secs};
use tokio::task::JoinHandle;

use super::Options;
use super::grounds::Grounds;
use super::ledger::{Answer, Kind, Ledger, Sent};
use crate::tasks::{flaky, nap, quick};

const PRODUCERS: usize = 8;
const BATCH: u64 = 64;
/// With more tasks in store than this the producers wait: the run is about faults, not about a backlog.
const BACKLOG_MAX: u64 = 10_000;
const LOOK_EVERY: Duration = ms(50);
/// Short, so that faults are met by sends that end in doubt, and not only by patient ones.
const DEADLINE: Duration = secs(4);

/// Producers at work.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// How many more may be sent.
    left: AtomicU64,
    until: Option<Instant>,
    waits: AtomicBool,
    ended: AtomicBool,
}

impl Load {
    pub(crate) async fn start(
        options: &Options,
        grounds: &Grounds,
        ledger: &Ledger,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            left: AtomicU64::new(options.tasks_max),
            until: Instant::now().checked_add(options.span_max),
            waits: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let mut client = Client::builder(grounds.producer_url()).deadline(DEADLINE);
        if grounds.may_lose_what_one_server_has() {
            client = client.durable(Durability::replicas(1));
        }
        let client = client.connect().await?;
        let mut workers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let random = fastrand::Rng::with_seed(options.seed.wrapping_add(1 + number as u64));
                tokio::spawn(produce(
                    client.clone(),
                    shared.clone(),
                    ledger.clone(),
                    random,
                ))
            })
            .collect();
        workers.push(tokio::spawn(brake(
            grounds.quiet_client().await?,
            shared.clone(),
        )));
        Ok(Self { shared, workers })
    }

    /// Whether all is sent, or the time is over.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// Waits for the last answers.
    pub(crate) async fn end(self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.expect("a producer does not panic");
        }
    }
}

impl Shared {
    fn is_done(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
            || self.ended.load(Ordering::Relaxed)
            || self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Takes as many of what is left as one batch has.
    fn take(&self) -> u64 {
        let less = |left: u64| Some(left.saturating_sub(BATCH));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .unwrap_or(0);
        before.min(BATCH)
    }
}

/// Looks at the backlog, past all faults of the network.
async fn brake(client: Client, shared: Arc<Shared>) {
    while !shared.is_done() {
        if let Ok(counts) = client.counts(super::QUEUE).await {
            let waits = BACKLOG_MAX < counts.ready + counts.scheduled;
            shared.waits.store(waits, Ordering::Relaxed);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn produce(client: Client, shared: Arc<Shared>, ledger: Ledger, mut random: fastrand::Rng) {
    while !shared.is_done() {
        if shared.waits.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let count = shared.take();
        let sends = (0..count).map(|_| {
            let (kind, number) = (choose(&mut random), random.u64(..20));
            send(&client, kind, number)
        });
        for (id, sent) in join_all(sends).await {
            ledger.note(id, sent);
        }
    }
}

fn choose(random: &mut fastrand::Rng) -> Kind {
    match random.u32(..100) {
        0..60 => Kind::Quick,
        60..75 => Kind::Nap,
        75..90 => Kind::Once,
        90..95 => Kind::Flaky,
        _ => Kind::Later,
    }
}

async fn send(client: &Client, kind: Kind, number: u64) -> (TaskId, Sent) {
    let (id, began) = (TaskId::random(), Clock::System.now());
    let mut not_before = began;
    let answer = match kind {
        Kind::Quick => {
            let send = client.send(quick(number)).id(id).ignore_result();
            answer_of(send).await
        }
        Kind::Nap => answer_of(client.send(nap(number)).id(id)).await,
        Kind::Once => {
            let send = client.send(nap(number)).id(id).ack(Ack::Early);
            answer_of(send).await
        }
        Kind::Flaky => answer_of(client.send(flaky()).id(id)).await,
        Kind::Later => {
            let countdown = ms(100 * number);
            not_before = began.plus(countdown);
            let send = client.send(nap(number)).id(id).countdown(countdown);
            answer_of(send).await
        }
    };
    let sent = Sent {
        kind,
        began,
        answered: Clock::System.now(),
        answer,
        not_before,
    };
    (id, sent)
}

async fn answer_of<T: lovage::Task>(send: lovage::Sending<T>) -> Answer {
    match send.await {
        Ok(_) => Answer::Accepted,
        // Stored, and gone again if its server is replaced before a replica has it.
        Err(SendError::Unknown { .. } | SendError::NotConfirmed { .. }) => Answer::Unknown,
        Err(_) => Answer::Refused,
    }
}
