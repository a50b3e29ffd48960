//! Workers and beats in processes of their own, and what is done to them.

use std::sync::Arc;
use std::time::Duration;

use lovage_beat::{Beat, RunningBeat};
use lovage_broker_memory::MemoryBroker;
use lovage_core::{QueueName, secs};
use lovage_process::Home;
use lovage_worker::{Queues, RunningWorker, Settings, Worker};
use tokio::time::timeout;

use crate::dice::Dice;
use crate::faulty::Faulty;
use crate::flaw::Flaw;
use crate::network::Network;
use crate::process::{Fated, Hosting, Process};
use crate::work::{self, Here};

/// How long runs may go on when a worker is stopped.
const GRACE: Duration = secs(1);
/// In how long a worker ends that is asked to: the grace, and four seconds.
const STOP_MAX: Duration = secs(5);

/// What a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A worker.
    Worker,
    /// A beat.
    Beat,
}

#[derive(Debug)]
enum Program {
    Worker(RunningWorker),
    Beat(RunningBeat),
}

/// One place in the fleet: a process and, once that has ended, another one.
#[derive(Debug)]
pub struct Slot {
    role: Role,
    process: Arc<Process>,
    program: Arc<Program>,
    stopping: bool,
}

/// All processes.
pub struct Fleet {
    broker: MemoryBroker,
    network: Arc<Network>,
    queues: Vec<QueueName>,
    lease: Duration,
    concurrency: usize,
    flaw: Flaw,
    slots: Vec<Slot>,
    started: usize,
}

impl Fleet {
    /// A fleet without processes, with the settings of one seed.
    pub fn new(
        broker: MemoryBroker,
        network: Arc<Network>,
        queues: Vec<QueueName>,
        dice: &mut Dice,
        flaw: Flaw,
    ) -> Self {
        Self {
            broker,
            network,
            queues,
            lease: Duration::from_millis(dice.pick(&[600, 1_500, 4_000])),
            concurrency: dice.pick(&[1, 2, 4, 16]),
            flaw,
            slots: Vec::new(),
            started: 0,
        }
    }

    /// The lease of all of them.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// A handle on the broker for `process`.
    pub fn handle(&self, process: &Arc<Process>) -> Faulty<MemoryBroker> {
        let (broker, network) = (self.broker.clone(), Arc::clone(&self.network));
        Faulty::new(broker, Arc::clone(process), network, self.flaw)
    }

    /// Adds a process.
    pub async fn add(&mut self, role: Role) {
        let slot = self.start(role).await;
        self.slots.push(slot);
    }

    async fn start(&mut self, role: Role) -> Slot {
        self.started += 1;
        let process = Process::new(format!("{role:?} {}", self.started).to_lowercase());
        self.network
            .history
            .fault(format_args!("{} starts", process.name()));
        let home = Home::hosted(Arc::new(Hosting(Arc::clone(&process))));
        let handle = self.handle(&process);
        let program = match role {
            Role::Worker => Program::Worker(
                Worker::builder(handle, work::registry())
                    .home(home)
                    .state(Here {
                        process: Arc::clone(&process),
                        history: Arc::clone(&self.network.history),
                    })
                    .settings(Settings {
                        queues: Some(Queues::even(self.queues.clone())),
                        concurrency: self.concurrency,
                        cpu_threads: 1,
                        lease: self.lease,
                        shutdown_grace: GRACE,
                        ..Settings::default()
                    })
                    .start()
                    .await
                    .expect("the settings are good"),
            ),
            Role::Beat => Program::Beat(
                Beat::builder(handle)
                    .home(home)
                    .lease(self.lease)
                    .start()
                    .await
                    .expect("the lease is good"),
            ),
        };
        Slot {
            role,
            process,
            program: Arc::new(program),
            stopping: false,
        }
    }

    /// Starts processes in place of those that have ended.
    pub async fn replace(&mut self) {
        for place in 0..self.slots.len() {
            if self.slots[place].process.is_killed() {
                let role = self.slots[place].role;
                self.slots[place] = self.start(role).await;
            }
        }
    }

    /// Does something bad to one of them, or to all.
    pub fn harm(&mut self, dice: &mut Dice) {
        let history = Arc::clone(&self.network.history);
        let place = usize::try_from(dice.number(0..self.slots.len() as u64)).unwrap_or(0);
        let lease_ms = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
        let slot = &mut self.slots[place];
        let (process, name) = (Arc::clone(&slot.process), slot.process.name().to_owned());
        match dice.number(0..11) {
            0..2 => {
                history.fault(format_args!("{name} is killed"));
                process.kill();
            }
            2..4 => {
                let polls = dice.number(0..60);
                history.fault(format_args!("{name} is to be killed in {polls} polls"));
                process.fate(polls, Fated::Kill);
            }
            4..6 => {
                let (span, polls) = (dice.span(1..3 * lease_ms), dice.number(0..60));
                history.fault(format_args!(
                    "{name} is frozen in {polls} polls, for {span:?}"
                ));
                process.fate(polls, Fated::Freeze);
                tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    history.fault(format_args!("{name} thaws"));
                    process.thaw();
                });
            }
            6..8 => {
                let span = dice.span(1..3 * lease_ms);
                history.fault(format_args!("{name} is cut off for {span:?}"));
                process.cut(true);
                tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    history.fault(format_args!("{name} is connected again"));
                    process.cut(false);
                });
            }
            8 if !slot.stopping => {
                slot.stopping = true;
                let program = Arc::clone(&slot.program);
                history.fault(format_args!("{name} is to stop"));
                tokio::spawn(async move {
                    program.stop().await;
                    history.fault(format_args!("{name} has stopped"));
                    process.kill();
                });
            }
            10 => {
                let span = dice.span(1..2 * lease_ms);
                // What was due by now is.
                self.network.keep_time();
                history.fault(format_args!("the broker's clock is set back by {span:?}"));
                self.network.set_back(span);
            }
            _ => {
                // More than a lease and both looks of recovery, at times.
                let span = dice.span(1..2 * lease_ms);
                history.fault(format_args!(
                    "the broker's clock is set forward by {span:?}"
                ));
                self.network.set_forward(span);
            }
        }
    }

    /// Ends all that was done to them, but for those that were killed.
    pub fn heal(&self) {
        for slot in &self.slots {
            slot.process.thaw();
            slot.process.cut(false);
        }
    }

    /// Stops all of them in good order. Answers who did not end in time.
    pub async fn stop(&mut self) -> Result<(), String> {
        for slot in &self.slots {
            let stopped = timeout(STOP_MAX, slot.program.stop()).await;
            if stopped.is_err() && !slot.process.is_killed() {
                return Err(format!(
                    "{} does not end within {STOP_MAX:?}",
                    slot.process.name()
                ));
            }
            slot.process.kill();
        }
        Ok(())
    }
}

impl Program {
    async fn stop(&self) {
        match self {
            Self::Worker(worker) => worker.shutdown().await,
            Self::Beat(beat) => beat.shutdown().await,
        }
    }
}
