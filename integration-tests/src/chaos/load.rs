//! The producers: they send as fast as the workers keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use lovage::{Ack, Client, Durability, SendError, Task as _, Unique};
use lovage_core::{Clock, QueueName, TaskId, TaskName, ms, secs, span_ms};
use tokio::task::JoinHandle;

use super::Options;
use super::crew::GRACE;
use super::grounds::Grounds;
use super::ledger::{Answer, Kind, Ledger, Sent};
use crate::risky::whereabouts;
use crate::tasks::{doomed, drowsy, flaky, nap, quick};

const PRODUCERS: usize = 8;
const BATCH: u64 = 64;
/// With more tasks in store than this the producers wait: the run is about faults, not about a backlog.
const BACKLOG_MAX: u64 = 10_000;
const LOOK_EVERY: Duration = ms(50);
/// Short, so that faults are met by sends that end in doubt, and not only by patient ones.
const DEADLINE: Duration = secs(4);
/// Few, so that unique tasks meet others of their key.
const UNIQUE_KEYS: u8 = 64;
/// How long one idempotency key is sent under.
const KEY_USED_FOR: Duration = secs(15);
/// How long it is remembered: until all sends under it have ended, and not much longer, as each is a key in its slot.
const KEY_KEPT_FOR: Duration = secs(30);

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
                tokio::spawn(produce(
                    client.clone(),
                    shared.clone(),
                    ledger.clone(),
                    Maker::new(number, options.seed),
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

async fn produce(client: Client, shared: Arc<Shared>, ledger: Ledger, mut maker: Maker) {
    while !shared.is_done() {
        if shared.waits.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let orders: Vec<Order> = (0..shared.take()).map(|_| maker.make()).collect();
        let sends = orders.into_iter().map(|order| send(&client, order));
        for (id, sent) in join_all(sends).await {
            ledger.note(id, sent);
        }
    }
}

/// What is to be sent.
#[derive(Debug)]
struct Order {
    kind: Kind,
    /// How long the body takes, or until when it waits.
    span: Duration,
    /// The idempotency key of a `Keyed`.
    key: String,
}

/// Chooses what one producer sends.
#[derive(Debug)]
struct Maker {
    producer: usize,
    random: fastrand::Rng,
    /// The latest idempotency key, and when it was new.
    latest: (u64, Instant),
}

impl Maker {
    fn new(producer: usize, seed: u64) -> Self {
        Self {
            producer,
            random: fastrand::Rng::with_seed(seed.wrapping_add(1 + producer as u64)),
            latest: (0, Instant::now()),
        }
    }

    fn make(&mut self) -> Order {
        let kind = match self.random.u32(..10_000) {
            0..5650 => Kind::Quick,
            5650..7150 => Kind::Nap,
            7150..8650 => Kind::Once,
            8650..9050 => Kind::Flaky,
            9050..9450 => Kind::Later,
            9450..9650 => Kind::Drowsy,
            9650..9850 => Kind::Unique(self.random.u8(..UNIQUE_KEYS)),
            9850..9950 => Kind::Keyed,
            9950..9970 => Kind::Doomed,
            9970..9990 => Kind::Child,
            _ => Kind::Long,
        };
        let is_long = match kind {
            Kind::Long => true,
            Kind::Once => self.random.u32(..1000) == 0,
            _ => false,
        };
        let span = match kind {
            _ if is_long => GRACE * 5 + ms(self.random.u64(..1000)),
            Kind::Later => ms(self.random.u64(..2000)),
            _ => ms(self.random.u64(..20)),
        };
        let key = match kind {
            Kind::Keyed => self.key(),
            _ => String::new(),
        };
        Order { kind, span, key }
    }

    /// A new key, or once more the latest one.
    fn key(&mut self) -> String {
        let (number, since) = self.latest;
        if KEY_USED_FOR < since.elapsed() || self.random.bool() {
            self.latest = (number + 1, Instant::now());
        }
        format!("{}-{}", self.producer, self.latest.0)
    }
}

async fn send(client: &Client, order: Order) -> (TaskId, Sent) {
    let Order { kind, span, key } = order;
    let began = Clock::System.now();
    let (mut id, mut not_before) = (TaskId::random(), began);
    let nap = || client.send(nap(span_ms(span)));
    let (answer, is_new) = match kind {
        Kind::Quick => {
            let send = client.send(quick(span_ms(span))).ignore_result();
            answer_of(id, send.id(id)).await
        }
        Kind::Nap | Kind::Long => answer_of(id, nap().id(id)).await,
        Kind::Later => {
            not_before = began.plus(span);
            answer_of(id, nap().id(id).countdown(span)).await
        }
        Kind::Once => answer_of(id, nap().id(id).ack(Ack::Early)).await,
        Kind::Keyed => {
            id = id_under(&key);
            let send = nap().ack(Ack::Early).idempotency_key(key);
            answer_of(id, send.idempotency_ttl(KEY_KEPT_FOR)).await
        }
        Kind::Unique(key) => {
            // With the end that its key gives it, all of a key are in one partition.
            id = id.beside(&[key; 16]);
            answer_of(id, nap().id(id).unique(Unique::by(move |_| key))).await
        }
        Kind::Flaky => answer_of(id, client.send(flaky()).id(id)).await,
        Kind::Drowsy => answer_of(id, client.send(drowsy()).id(id)).await,
        Kind::Doomed => answer_of(id, client.send(doomed()).id(id)).await,
        Kind::Child => answer_of(id, client.send(whereabouts()).id(id).ignore_result()).await,
        Kind::Callback => unreachable!("producers send none"),
    };
    let sent = Sent {
        kind,
        began,
        answered: Clock::System.now(),
        answer,
        not_before,
        made: is_new.into(),
    };
    (id, sent)
}

/// The id of a nap under this idempotency key, as `docs/uniqueness.md` says.
fn id_under(key: &str) -> TaskId {
    let queue = QueueName::parse(super::QUEUE).expect("it is a name");
    let task = TaskName::parse(nap::NAME).expect("it is a name");
    TaskId::of_send(&queue, &task, key)
}

/// What came of a send whose task is to be `id`, and whether it was told to have made it.
async fn answer_of<T: lovage::Task>(id: TaskId, send: lovage::Sending<T>) -> (Answer, bool) {
    match send.await {
        Ok(handle) if handle.id() == id => (Answer::Accepted, handle.is_new()),
        Ok(handle) => (Answer::Existing(handle.id()), handle.is_new()),
        // Stored, and gone again if its server is replaced before a replica has it.
        Err(SendError::Unknown { .. } | SendError::NotConfirmed { .. }) => (Answer::Unknown, false),
        Err(_) => (Answer::Refused, false),
    }
}
