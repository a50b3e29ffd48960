//! What runs while a test changes something beneath it: workers, somebody who sends to them, and a result that is awaited.

use std::collections::BTreeSet;
use std::time::Duration;

use lovage::{Client, WaitError};
use lovage_core::{TaskId, ms};
use lovage_integration_tests::tasks::hold;
use lovage_integration_tests::{Gate, LIMIT, Place, Process, Servers, Stage, Stream, eventually};
use tokio::task::JoinHandle;

/// Sends that go on, and a task that ends with them.
pub(crate) struct Flow {
    stream: Stream,
    gate: Gate,
    waiting: JoinHandle<Result<(), WaitError>>,
}

impl Flow {
    /// Begins, once the task that ends with it has started.
    pub(crate) async fn begin(stage: &Stage<impl Servers>, client: &Client) -> Self {
        let gate = stage.gate("flow");
        let awaited = client.send(hold(gate.path())).await.unwrap();
        let id = awaited.id();
        let waiting = tokio::spawn(async move { awaited.wait(LIMIT).await.map(drop) });
        stage.started(id, 1).await;
        Self {
            stream: Stream::start(client.clone()),
            gate,
            waiting,
        }
    }

    /// Ends after some more tasks: the result has arrived, each send was accepted in time, and nothing has died. Answers
    /// what was accepted.
    pub(crate) async fn end(self, stage: &Stage<impl Servers>) -> Vec<TaskId> {
        more_end(stage, 100).await;
        self.gate.open();
        self.waiting.await.unwrap().expect("its result arrives");
        let sent = self.stream.stop().await;
        assert_eq!(sent.failed, 0, "each send was accepted in time");
        none_has_died(stage).await;
        sent.accepted
    }
}

/// Two workers, which are known.
pub(crate) async fn crew(stage: &Stage<impl Servers>, lease: Duration) -> [Process; 2] {
    let worker = || stage.worker().concurrency(16).lease(lease).spawn();
    let crew = [worker(), worker()];
    stage.known_workers(crew.len()).await;
    crew
}

pub(crate) fn none_has_ended(processes: &mut [Process]) {
    for process in processes {
        assert_eq!(process.ended(), None, "a process ended by itself");
    }
}

/// Waits until `count` more tasks have ended.
pub(crate) async fn more_end(stage: &Stage<impl Servers>, count: usize) {
    let before = stage.journal.all_ends().len();
    eventually(&format!("{count} more tasks end"), async || {
        (before + count < stage.journal.all_ends().len()).then_some(())
    })
    .await;
}

/// Each of `ids` ran once: nothing is lost, nothing is repeated.
pub(crate) fn each_ran_once(stage: &Stage<impl Servers>, ids: &[TaskId]) {
    let (starts, ends) = (stage.journal.all_starts(), stage.journal.all_ends());
    for id in ids {
        assert_eq!(starts.get(id).map(Vec::len), Some(1), "starts of {id}");
        assert_eq!(ends.get(id).map(Vec::len), Some(1), "ends of {id}");
    }
}

/// Each of `confirmed` ran, once all is at rest; of `others` it is counted.
#[expect(
    clippy::print_stdout,
    reason = "the test harness shows it where it is asked for"
)]
pub(crate) async fn each_confirmed_ran(
    stage: &Stage<impl Servers>,
    confirmed: &[TaskId],
    others: &[TaskId],
) {
    none_has_died(stage).await;
    let ends = stage.journal.all_ends();
    for id in confirmed {
        assert!(ends.contains_key(id), "{id} was confirmed, and is lost");
    }
    let lost = others.iter().filter(|id| !ends.contains_key(id)).count();
    let again = ends.values().filter(|ends| 1 < ends.len()).count();
    println!(
        "{} confirmed, none lost; of {} others {lost} lost; {again} ran again",
        confirmed.len(),
        others.len()
    );
}

async fn none_has_died(stage: &Stage<impl Servers>) {
    let audit = stage.at_rest().await;
    assert_eq!(audit.ids(Place::Dead), BTreeSet::new());
}

/// A pause in which both sides of something unfinished are seen.
pub(crate) async fn a_moment() {
    tokio::time::sleep(ms(fastrand::u64(5..40))).await;
}
