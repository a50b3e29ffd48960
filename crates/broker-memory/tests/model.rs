//! Random sequences of calls leave no task lost, doubled or miscounted.

use std::sync::atomic::Ordering;

use lovage_broker_memory::MemoryBroker;
use lovage_conformance::model::{Command, Ledger, Plan, Session, cases};
use lovage_core::{Clock, ManualClock, QueueName};
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

#[test]
fn random_calls_lose_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        // A failure is shown in full; a file of seeds would have to be committed by whoever saw it.
        failure_persistence: None,
        ..Config::with_cases(cases())
    });
    let sequences = Plan::sequential_strategy(1..80);
    let result = runner.run(&sequences, |(_, commands, seen)| {
        runtime.block_on(async {
            let clock = ManualClock::default();
            let broker = MemoryBroker::with_clock(Clock::Manual(clock.clone()));
            let queue = QueueName::parse("model").unwrap();
            let mut session = Session::start(broker, queue).await;
            let mut ledger = Ledger::default();
            for command in commands {
                if let Some(seen) = &seen {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                for step in command.steps() {
                    if let Command::Advance(span) = &step {
                        clock.advance(*span);
                    }
                    let answer = session.play(&step).await;
                    let look = session.look().await;
                    ledger.note(&step, &answer, clock.now(), &look);
                }
            }
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
