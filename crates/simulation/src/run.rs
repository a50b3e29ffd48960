//! One run: a fleet, its work and its troubles, until all is over and quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use lovage_beat::{Entry, Misfire, Origin, Schedule, Timetable, task_id};
use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Broker, Clock, Inspect, ManualClock, Membership, QueueName, Renewal, ScheduleName, TaskId,
    WorkerId, ms, secs,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::checker::{self, Violation};
use crate::client;
use crate::dice::Dice;
use crate::flaw::Flaw;
use crate::fleet::{Fleet, Role};
use crate::history::{Event, History, What};
use crate::network::{self, Network, Weather};
use crate::process::Process;
use crate::work::{self, Act, Job};

/// How long after the last fault all work has to be done: leases, two looks, retries, three losses, and pauses of two
/// seconds between attempts to reach the broker.
const DRAIN_MAX: Duration = secs(300);
/// The events before and after a violation that are shown.
const SHOWN: usize = 30;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// All that happened.
    pub events: Vec<Event>,
    /// What should not have.
    pub violation: Option<Violation>,
}

impl Report {
    /// The violation, how to see it again, and what happened about then.
    pub fn story(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let mut story = format!(
            "seed {seed}: {violation}\nreplay: LOVAGE_SEED={seed} cargo nextest run -p lovage-simulation --test seeds\n",
            seed = self.seed,
        );
        let about = violation.event.min(self.events.len());
        let of_task = |event: &Event| violation.id.is_some() && event.what.id() == violation.id;
        for (n, event) in self.events.iter().enumerate() {
            let near = about.saturating_sub(SHOWN) <= n && n < about + SHOWN / 3;
            if near || of_task(event) {
                let mark = if n == about { "=>" } else { "  " };
                let _ = writeln!(story, "{mark} {event}");
            }
        }
        Some(story)
    }
}

/// Runs one seed on a runtime and a clock of its own.
pub fn run(seed: u64, flaw: Flaw) -> Report {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads and sockets");
    // All of it inside: outside the runtime the clock is the host's.
    runtime.block_on(async { Run::new(seed, flaw).tell().await })
}

struct Run {
    seed: u64,
    dice: Dice,
    broker: MemoryBroker,
    network: Arc<Network>,
    queues: Vec<QueueName>,
    fleet: Fleet,
    horizon: Duration,
}

impl Run {
    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut dice = Dice::new(seed);
        let clock = ManualClock::default();
        let broker = MemoryBroker::with_clock(Clock::Manual(clock.clone()));
        let history = Arc::new(History::default());
        let weather = Weather::of(&mut dice);
        let network = Arc::new(Network::new(clock, dice.fork(), weather, history));
        let count = dice.number(1..4);
        let queues: Vec<QueueName> = (1..=count).map(|n| queue(&format!("q{n}"))).collect();
        let fleet = Fleet::new(
            broker.clone(),
            Arc::clone(&network),
            queues.clone(),
            &mut dice,
            flaw,
        );
        Self {
            seed,
            horizon: dice.span(4_000..20_000),
            dice,
            broker,
            network,
            queues,
            fleet,
        }
    }

    async fn tell(mut self) -> Report {
        let jobs = work::jobs(&mut self.dice, &self.queues, self.horizon);
        let jobs: BTreeMap<TaskId, Job> =
            jobs.into_iter().map(|job| (job.envelope.id, job)).collect();
        let occurrences = self.schedule().await;
        let stuck = self.live(&jobs, occurrences.len()).await;
        let events = self.network.history.events();
        let violation = match checker::check(&events, &jobs, &occurrences) {
            Err(violation) => Some(violation),
            Ok(()) => stuck
                .err()
                .map(|text| Violation::at_the_end(text, events.len())),
        };
        Report {
            seed: self.seed,
            events,
            violation,
        }
    }

    /// Faults until the horizon, then none, until nothing is left to do.
    async fn live(
        &mut self,
        jobs: &BTreeMap<TaskId, Job>,
        occurrences: usize,
    ) -> Result<(), String> {
        for _ in 0..self.dice.number(1..4) {
            self.fleet.add(Role::Worker).await;
        }
        let beats = self.dice.number(1..3);
        for _ in 0..if occurrences == 0 { 0 } else { beats } {
            self.fleet.add(Role::Beat).await;
        }
        let senders_process = Process::new("senders");
        let mut senders = JoinSet::new();
        for job in jobs.values().cloned() {
            let (broker, network) = (
                self.fleet.handle(&senders_process),
                Arc::clone(&self.network),
            );
            senders.spawn(async move { client::send(broker, &network, job).await });
        }
        let pause_max = ms(self.dice.pick(&[400, 2_000, 8_000]));
        while self.network.history.elapsed() < self.horizon {
            sleep(self.dice.moment(pause_max)).await;
            self.fleet.harm(&mut self.dice);
            // Whoever looks after the processes is not always quick.
            if self.dice.chance(500) {
                self.fleet.replace().await;
            }
        }
        self.network.clear_up();
        self.fleet.heal();
        self.network.history.fault("all is well from now on");
        let well_since = self.network.history.elapsed();
        loop {
            self.fleet.replace().await;
            sleep(ms(500)).await;
            let left = self.left(occurrences).await;
            while senders.try_join_next().is_some() {}
            let well_for = self.network.history.elapsed().saturating_sub(well_since);
            // What was given up may still come, and be new work.
            if left.is_empty()
                && senders.is_empty()
                && network::LATEST < well_for
                && checker::owing(&self.network.history.events(), jobs) == 0
            {
                break;
            }
            if DRAIN_MAX + self.network.was_set_back() < well_for {
                return Err(format!(
                    "{DRAIN_MAX:?} after the last fault there is still work: {left}; {} senders wait; {} deaths owe a callback",
                    senders.len(),
                    checker::owing(&self.network.history.events(), jobs),
                ));
            }
        }
        self.fleet.stop().await?;
        self.nothing_is_held().await
    }

    /// What is not done yet.
    async fn left(&self, occurrences: usize) -> String {
        let mut left = String::new();
        let events = self.network.history.events();
        let fired: BTreeSet<TaskId> = events
            .iter()
            .filter_map(|event| match event.what {
                What::Fired(id) => Some(id),
                _ => None,
            })
            .collect();
        let stored = |e: &&Event| matches!(&e.what, What::Stored(_, id) if fired.contains(id));
        let stored = events.iter().filter(stored).count();
        if stored < occurrences {
            let _ = write!(left, "{stored} of {occurrences} occurrences have fired ");
        }
        for queue in &self.queues {
            let counts = self.broker.counts(queue).await.expect("it is in memory");
            if 0 < counts.ready + counts.scheduled + counts.active {
                let _ = write!(left, "{queue} has {counts:?} ");
            }
        }
        left
    }

    /// Each identity is gone, and holds nothing.
    async fn nothing_is_held(&self) -> Result<(), String> {
        // Those that were killed are found by the others; here there are none left.
        for _ in 0..3 {
            // Where the broker's clock was set back, leases last longer by that.
            sleep(2 * self.fleet.lease() + self.network.was_set_back()).await;
            self.network.keep_time();
            for queue in &self.queues {
                let _ = self.broker.recover(queue, self.fleet.lease()).await;
            }
        }
        let workers: Vec<WorkerId> = self.network.history.workers();
        for queue in &self.queues {
            for worker in &workers {
                let identity = self.network.history.identity(*worker);
                let held = self.broker.holdings(*worker, queue).await;
                if held.is_ok_and(|held| !held.is_empty()) {
                    return Err(format!(
                        "{identity} is gone and still holds tasks of {queue}"
                    ));
                }
                let renewed = self.broker.renew(*worker, queue, ms(1)).await;
                if !matches!(renewed, Ok(Renewal::Lost)) {
                    return Err(format!("{identity} is gone, and {queue} still knows it"));
                }
            }
        }
        let left = self.left(0).await;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("after all have stopped, {left}"))
        }
    }

    /// Makes schedules of which each occurrence must fire. Answers the ids of their tasks.
    async fn schedule(&mut self) -> Vec<TaskId> {
        let mut occurrences = Vec::new();
        for n in 0..self.dice.number(0..3) {
            let name = ScheduleName::parse(&format!("s{n}")).expect("it is good");
            let start = self.network.keep_time().plus(self.dice.span(500..2_000));
            let period_ms = self.dice.number(200..3_000);
            let end = start.plus(self.horizon / 2);
            let schedule = Schedule::every(ms(period_ms))
                .expect("it is long enough")
                .anchored(start)
                .starting(start)
                .ending(end)
                .misfire(Misfire::All);
            let template = work::envelope(work::id(0), &self.queues[0], &Act::Quick);
            let entry = Entry::new(name.clone(), schedule, Origin::Runtime, template);
            Timetable::new(self.broker.clone())
                .upsert(entry)
                .await
                .expect("it is in memory");
            let mut at = start;
            while at <= end {
                occurrences.push(task_id(&name, at));
                at = at.plus(ms(period_ms));
            }
        }
        occurrences
    }
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).expect("it is good")
}
