//! A worker that runs what it is told to, where it is told to.

use std::any::Any;
use std::collections::BTreeSet;
use std::mem;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Batch, Broker, Callbacks, CancellationToken, Claim, Clock, Delivery, Encoded, Envelope,
    Failure, FailureKind, Handler, Membership, Millis, Outcome, QueueName, Registry, RegistryError,
    Results, Settlement, StateNeed, States, TaskContext, TaskDef, TaskError, TaskId, TaskOptions,
    Verdict, When, WorkerId, hours, secs, verdict,
};

use crate::client::Client;
use crate::worker::with_client;

/// The clock may be moved by years; nobody else shall take its tasks.
const LEASE: Duration = hours(1000 * 365 * 24);

const ANSWERS: &str = "the broker inside this process always answers";

/// Past so many runs a task sends itself for ever.
const RUNS_MAX: usize = 100_000;

/// A broker inside this process, and all that is needed to run its tasks.
pub(crate) struct Inline {
    broker: MemoryBroker,
    clock: Clock,
    worker: WorkerId,
    bodies: Mutex<Bodies>,
    journal: Mutex<Journal>,
}

#[derive(Clone)]
struct Bodies {
    registry: Arc<Registry>,
    states: States,
}

/// What was accepted, and where.
#[derive(Default)]
struct Journal {
    sent: Vec<Bytes>,
    queues: BTreeSet<QueueName>,
}

impl Inline {
    pub(crate) fn new(
        broker: MemoryBroker,
        clock: Clock,
        registry: Registry,
        states: States,
    ) -> Arc<Self> {
        Arc::new(Self {
            broker,
            clock,
            worker: WorkerId::random(),
            bodies: Mutex::new(Bodies {
                registry: Arc::new(registry),
                states,
            }),
            journal: Mutex::default(),
        })
    }

    pub(super) fn add_state<T: Send + Sync + 'static>(&self, value: T) {
        let mut bodies = lock(&self.bodies);
        bodies.states = mem::take(&mut bodies.states).with(value);
    }

    pub(super) fn set_registry(&self, registry: Registry) {
        lock(&self.bodies).registry = Arc::new(registry);
    }

    pub(super) fn check_states(&self, client: &Client) -> Result<(), RegistryError> {
        let bodies = lock(&self.bodies).clone();
        let states = with_client(bodies.states, client);
        bodies.registry.check_states(&states)
    }

    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }

    pub(super) fn advance(&self, span: Duration) {
        self.broker.advance(span);
    }

    /// Notes a task that the broker has accepted.
    pub(crate) fn accepted(&self, queue: &QueueName, task: &Encoded) {
        let mut journal = lock(&self.journal);
        journal.sent.push(task.bytes().clone());
        if !journal.queues.contains(queue) {
            journal.queues.insert(queue.clone());
        }
    }

    pub(super) fn sent(&self) -> Vec<Envelope> {
        let journal = lock(&self.journal);
        let envelopes = journal.sent.iter().map(Envelope::decode);
        envelopes
            .map(|envelope| envelope.expect("a client writes what it can read"))
            .collect()
    }

    /// Runs everything until the task of this id has ended, whoever runs it.
    pub(crate) async fn run_eagerly(&self, client: &Client, queue: &QueueName, id: TaskId) {
        self.run_until_idle(client).await;
        // Another send may have claimed it meanwhile and be running it. Where it has ended, this answers at once.
        let _ = self.broker.outcome(queue, id, secs(60)).await;
    }

    pub(super) async fn run_ready(&self, client: &Client) -> usize {
        let mut taken = Vec::new();
        for queue in self.queues() {
            loop {
                let batch = self.claim(&queue, NonZeroU16::MAX).await;
                if batch.deliveries.is_empty() {
                    break;
                }
                let now = batch.now;
                let deliveries = batch.deliveries.into_iter();
                taken.extend(deliveries.map(|delivery| (queue.clone(), delivery, now)));
            }
        }
        let runs = taken.len();
        for (queue, delivery, now) in taken {
            self.run(client, &queue, delivery, now).await;
        }
        runs
    }

    pub(super) async fn run_due(&self, client: &Client) -> usize {
        let mut runs = 0;
        loop {
            let (ran, _) = self.step(client).await;
            if !ran {
                return runs;
            }
            runs = count(runs);
        }
    }

    pub(super) async fn run_until_idle(&self, client: &Client) -> usize {
        let mut runs = 0;
        loop {
            match self.step(client).await {
                (true, _) => runs = count(runs),
                (false, Some(span)) => self.advance(span),
                (false, None) => return runs,
            }
        }
    }

    /// Runs one task that is due, or tells how long until one is.
    ///
    /// One at a time, so that a body which sends and waits finds no task held by a run that waits for it.
    async fn step(&self, client: &Client) -> (bool, Option<Duration>) {
        let mut next_due: Option<Duration> = None;
        for queue in self.queues() {
            let batch = self.claim(&queue, NonZeroU16::MIN).await;
            if let Some(delivery) = batch.deliveries.into_iter().next() {
                self.run(client, &queue, delivery, batch.now).await;
                return (true, None);
            }
            next_due = next_due.into_iter().chain(batch.next_due).min();
        }
        (false, next_due)
    }

    async fn claim(&self, queue: &QueueName, max: NonZeroU16) -> Batch {
        loop {
            match self.broker.claim(self.worker, queue, max).await {
                Ok(Claim::Granted(batch)) => return batch,
                Ok(Claim::NoLease) => {
                    let registered = self.broker.register(self.worker, queue, LEASE).await;
                    registered.expect(ANSWERS);
                }
                Err(error) => panic!("{ANSWERS}: {error}"),
            }
        }
    }

    async fn run(&self, client: &Client, queue: &QueueName, delivery: Delivery, now: Millis) {
        let (id, fence) = (delivery.id, delivery.fence);
        let mut bodies = lock(&self.bodies).clone();
        // At each run, so that the client does not hold itself.
        bodies.states = with_client(bodies.states, client);
        let settlement = Settlement {
            id,
            fence,
            verdict: bodies.verdict_on(delivery, now).await,
        };
        let settled = self.broker.settle(self.worker, queue, vec![settlement]);
        settled.await.expect(ANSWERS);
        self.call_back(queue).await;
    }

    /// Sends the callbacks that are owed, as a worker does.
    async fn call_back(&self, queue: &QueueName) {
        let owed = self.broker.owed(queue, NonZeroU16::MAX, Duration::ZERO);
        for owed in owed.await.expect(ANSWERS) {
            if let Some(callback) = owed.callback() {
                let task = callback.encode().expect("it was made to fit");
                let sent = self.broker.enqueue(&callback.queue, vec![task.clone()]);
                sent.await.expect(ANSWERS);
                self.accepted(&callback.queue, &task);
            }
            let death = (owed.letter.id, owed.letter.died_at);
            let noted = self.broker.called_back(queue, vec![death]);
            noted.await.expect(ANSWERS);
        }
    }

    fn queues(&self) -> BTreeSet<QueueName> {
        lock(&self.journal).queues.clone()
    }
}

impl Bodies {
    async fn verdict_on(self, delivery: Delivery, now: Millis) -> Verdict {
        let envelope = match Envelope::decode(&delivery.bytes) {
            Ok(envelope) => envelope,
            Err(error) => return bury(FailureKind::Malformed, &error.to_string()),
        };
        let keep = envelope.result_ttl;
        if matches!(envelope.expires, Some(When::At(instant)) if instant <= now) {
            let outcome = Outcome::Expired;
            return Verdict::Done { outcome, keep };
        }
        let Some(task) = self.registry.get(envelope.task.as_str()).copied() else {
            let reason = format!("no task is named {}", envelope.task);
            return bury(FailureKind::UnknownTask, &reason);
        };
        self.check_needs(&task);
        let mut said = TaskOptions::new().ack(envelope.ack);
        said.max_retries = envelope.max_retries;
        said.backoff = envelope.backoff;
        let policy = said.over((task.options)()).retry_policy();
        let args = envelope.args.clone();
        let context = TaskContext::new(
            envelope,
            delivery.fence,
            delivery.losses,
            delivery.snoozes,
            CancellationToken::new(),
            Arc::new(self.states),
        );
        let attempt = context.attempt();
        verdict(run(&task, context, args).await, attempt, &policy, 0.0, keep)
    }

    fn check_needs(&self, task: &TaskDef) {
        let missing = |need: &&StateNeed| !self.states.has(need);
        if let Some(missing) = task.needs.iter().find(missing) {
            panic!(
                "task {:?} takes State<{}>, and there is none: give one with .state(..)",
                task.name,
                missing.name()
            );
        }
    }
}

async fn run(task: &TaskDef, context: TaskContext, args: Bytes) -> Result<Bytes, TaskError> {
    // On tasks and threads of their own, as in a worker: a panic ends there, and a blocking body may block.
    let run = match task.handler {
        Handler::Async(body) => tokio::spawn(body(context, args)),
        Handler::Sync(body) => tokio::task::spawn_blocking(move || body(context, args)),
    };
    run.await.unwrap_or_else(|error| {
        let payload = error.try_into_panic().ok();
        Err(TaskError::panicked(panic_message(payload.as_deref())))
    })
}

fn panic_message(payload: Option<&(dyn Any + Send)>) -> &str {
    let text = payload.and_then(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    });
    text.unwrap_or("a panic without a message")
}

fn bury(kind: FailureKind, reason: &str) -> Verdict {
    Verdict::Bury(Failure::new(kind, reason))
}

fn count(runs: usize) -> usize {
    assert!(
        runs < RUNS_MAX,
        "{RUNS_MAX} runs and still not idle: does a task send itself?"
    );
    runs + 1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inline(at {})", self.now())
    }
}
