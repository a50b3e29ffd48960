//! Random sequences of calls get the same answers from Redis as from the memory broker, and leave every task in
//! exactly one place of Redis after each call.

#[path = "model/audit.rs"]
mod audit;

use std::sync::atomic::Ordering;
use std::time::Duration;

use lovage_broker_memory::MemoryBroker;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_conformance::model::{Command, Ledger, Plan, Session, cases};
use lovage_core::{Clock, ManualClock, QueueName, secs};
use lovage_test_redis::{Cluster, RedisServer, Sentinels};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use crate::audit::Audit;

/// No answer may be missed on a busy machine: the sequences are about what is answered, not how soon.
const PATIENT: Duration = secs(60);

/// No spurious failover, however busy the machine is.
const NODE_TIMEOUT: Duration = secs(15);

struct Worlds {
    clock: ManualClock,
    model: Session<MemoryBroker>,
    system: Session<RedisBroker>,
    ledger: Ledger,
    connection: MultiplexedConnection,
}

impl Worlds {
    /// Two empty queues that go by one clock. The server is emptied, so that an audit finds this sequence's keys alone.
    async fn start(url: &str, mut connection: MultiplexedConnection) -> Self {
        let _: () = redis::cmd("FLUSHDB")
            .query_async(&mut connection)
            .await
            .expect("the server answers");
        let clock = ManualClock::default();
        let config = RedisConfig::new(url)
            .connect_timeout(PATIENT)
            .response_timeout(PATIENT)
            .clock(Clock::Manual(clock.clone()));
        let redis = RedisBroker::connect(&config)
            .await
            .expect("the server answers");
        let memory = MemoryBroker::with_clock(Clock::Manual(clock.clone()));
        let queue = QueueName::parse("model").expect("it is a name");
        Self {
            clock,
            model: Session::start(memory, queue.clone()).await,
            system: Session::start(redis, queue).await,
            ledger: Ledger::default(),
            connection,
        }
    }

    async fn step(&mut self, step: &Command) -> Result<(), TestCaseError> {
        if let Command::Advance(span) = step {
            self.clock.advance(*span);
        }
        let expected = self.model.play(step).await;
        let answer = self.system.play(step).await;
        if answer != expected {
            let message = format!("{step:?}\n  the model: {expected:?}\n  Redis:     {answer:?}");
            return Err(TestCaseError::fail(message));
        }
        let look = self.model.look().await;
        self.ledger.note(step, &answer, self.clock.now(), &look);
        let audit = Audit::read(&mut self.connection).await;
        if let Err(reason) = audit.compare(&look) {
            return Err(TestCaseError::fail(format!("after {step:?}: {reason}")));
        }
        Ok(())
    }
}

fn config(cases: u32) -> Config {
    Config {
        // A failure is shown in full; a file of seeds would have to be committed by whoever saw it.
        failure_persistence: None,
        ..Config::with_cases(cases)
    }
}

#[test]
fn redis_answers_as_the_model_does_and_keeps_each_task_in_one_place() {
    let runtime = runtime();
    let server = runtime.block_on(RedisServer::start());
    compare(&runtime, &server.url(), &server, cases());
}

/// Fewer: what differs is where the scripts run, and not what they do.
#[test]
fn a_cluster_answers_as_the_model_does_and_keeps_each_task_in_one_place() {
    let runtime = runtime();
    let (cluster, slot) = runtime.block_on(async {
        let cluster = Cluster::start(NODE_TIMEOUT).await;
        let slot = cluster.slot("{lovage:model}").await;
        (cluster, slot)
    });
    let owner = runtime.block_on(cluster.owner(slot));
    compare(&runtime, &cluster.url(), owner, cases().div_ceil(8));
}

#[test]
fn a_primary_of_sentinels_answers_as_the_model_does_and_keeps_each_task_in_one_place() {
    let runtime = runtime();
    let servers = runtime.block_on(Sentinels::start(RedisServer::builder(), 1));
    let primary = runtime.block_on(servers.primary());
    compare(&runtime, &servers.url(), primary, cases().div_ceil(8));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Plays sequences at `url`; `server` is the one that has the queue.
fn compare(runtime: &Runtime, url: &str, server: &RedisServer, cases: u32) {
    let client = redis::Client::open(server.url()).expect("a URL");
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENT));
    let connection = runtime
        .block_on(client.get_multiplexed_async_connection_with_config(&patient))
        .expect("the server answers");
    let mut runner = TestRunner::new(config(cases));
    let sequences = Plan::sequential_strategy(1..80);
    let result = runner.run(&sequences, |(_, commands, seen)| {
        runtime.block_on(async {
            let mut worlds = Worlds::start(url, connection.clone()).await;
            for command in commands {
                if let Some(seen) = &seen {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                for step in command.steps() {
                    worlds.step(&step).await?;
                }
            }
            let (expected, look) = (worlds.model.look().await, worlds.system.look().await);
            if !look.agrees_with(&expected) {
                let message = format!("the model:\n{expected:?}\nRedis:\n{look:?}");
                return Err(TestCaseError::fail(message));
            }
            Ok(())
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
