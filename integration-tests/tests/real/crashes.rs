//! Workers that are killed, and tasks that kill them.

use std::collections::BTreeSet;
use std::time::Duration;

use lovage::Handle;
use lovage_core::{Clock, FailureKind, TaskId, ms, secs};
use lovage_integration_tests::tasks::{abort, hold, nap, once, quick};
use lovage_integration_tests::{
    Event, History, Kill, Place, Process, ProcessBuilder, Stage, eventually,
};

use crate::stage;

const KILLS: usize = 50;
const TASKS: u64 = 20_000;
const BATCH: u64 = 400;
const WORKERS: usize = 3;

/// Short, so that many losses fit into a test.
const LEASE: Duration = ms(1500);

/// Workers of one kind, one of which is killed and replaced again and again.
struct Crew {
    builder: ProcessBuilder,
    present: Vec<Process>,
    kills: Vec<Kill>,
}

impl Crew {
    fn of(count: usize, builder: ProcessBuilder) -> Self {
        let present = (0..count).map(|_| builder.spawn()).collect();
        Self {
            builder,
            present,
            kills: Vec::new(),
        }
    }

    /// Kills one at random and starts another.
    fn kill_one(&mut self) {
        let mut unlucky = self
            .present
            .swap_remove(fastrand::usize(..self.present.len()));
        self.kills.push(Kill {
            pid: unlucky.pid(),
            at: Clock::System.now(),
        });
        unlucky.kill9();
        self.present.push(self.builder.spawn());
    }
}

/// Lets a random part of a fifth of a second pass while the workers work: the instant of the next kill.
async fn random_instant() {
    tokio::time::sleep(ms(fastrand::u64(20..200))).await;
}

#[tokio::test]
async fn accepted_is_kept() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut crew = Crew::of(WORKERS, stage.worker().concurrency(16).lease(LEASE));
    let mut accepted = BTreeSet::new();

    let mut left = TASKS;
    while 0 < left || crew.kills.len() < KILLS {
        for _ in 0..4 {
            let batch: Vec<_> = (0..BATCH.min(left))
                .map(|_| nap(fastrand::u64(0..6)))
                .collect();
            left -= batch.len() as u64;
            let handles = client.send_all(batch).await.expect("Redis is well");
            accepted.extend(handles.iter().map(Handle::id));
            random_instant().await;
            crew.kill_one();
        }
        stage.audit().await.check();
    }

    let dead = stage.at_rest().await.ids(Place::Dead);
    let history = History {
        accepted,
        entries: stage.journal.entries(),
        dead,
        kills: crew.kills,
    };
    assert_eq!(history.accepted.len() as u64, TASKS);
    let report = history.check();
    // Each killed worker held at least one task, or the kills hit nothing and the test shows nothing.
    assert_ne!(report.duplicates, 0, "no kill hit a running task");
    only_lost_are_dead(&stage, &history.dead).await;
}

/// The dead letters of `ids` all died of losses.
async fn only_lost_are_dead(stage: &Stage, ids: &BTreeSet<TaskId>) {
    for letter in stage.dead_letters().await {
        assert!(ids.contains(&letter.id), "{letter:?}");
        assert_eq!(letter.failure.kind, FailureKind::Lost, "{letter:?}");
    }
}

#[tokio::test]
async fn a_killed_workers_tasks_run_again_within_lease_and_ten_seconds() {
    /// What a machine under load may add to it all.
    const MARGIN: Duration = secs(10);
    const DEFAULT_LEASE: Duration = secs(15);

    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let mut lost = stage.worker().concurrency(4).lease(DEFAULT_LEASE).spawn();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.send(hold(gate.path())).await.unwrap().id());
    }
    for id in &ids {
        stage.started(*id, 1).await;
    }
    let killed_at = Clock::System.now();
    lost.kill9();

    let _other = stage.worker().concurrency(4).lease(DEFAULT_LEASE).spawn();
    for id in &ids {
        stage.started(*id, 2).await;
        let again = stage.journal.starts(*id)[1];
        let span = again.at.since(killed_at);
        assert!(
            span <= DEFAULT_LEASE + secs(10) + MARGIN,
            "{id} ran again {span:?} after the kill"
        );
        assert_eq!((again.attempt, again.losses), (1, 1), "{again:?}");
    }
    gate.open();
    stage.at_rest().await;
}

#[tokio::test]
async fn losing_a_worker_does_not_lose_its_prefetched_tasks() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("first");
    let worker = stage.worker().concurrency(1).lease(LEASE);
    let mut lost = worker.clone().flag("prefetch", "60").spawn();
    let first = client.send(hold(gate.path())).await.unwrap();
    let rest = client.send_all((0..50).map(quick)).await.unwrap();
    eventually("all are held", async || {
        (stage.audit().await.ids(Place::Active).len() == 51).then_some(())
    })
    .await;
    gate.open_for(1);

    lost.kill9();
    let _other = worker.spawn();

    stage.at_rest().await;
    for handle in &rest {
        assert_eq!(stage.journal.ends(handle.id()).len(), 1, "{}", handle.id());
    }
    assert_eq!(stage.journal.ends(first.id()).len(), 1);
}

#[tokio::test]
async fn a_poison_task_is_buried_after_three_losses() {
    let stage = stage().await;
    let client = stage.client().await;
    let poison = client.send(abort()).await.unwrap().id();
    for _ in 0..3 {
        let mut victim = stage.worker().lease(LEASE).spawn();
        let status = victim.end().await;
        assert_eq!(status.code(), None, "ended by the signal of abort");
    }

    let mut survivor = stage.worker().lease(LEASE).spawn();
    eventually("the poison is buried", async || {
        stage.audit().await.has(poison, Place::Dead).then_some(())
    })
    .await;
    let harmless = client.send(quick(7)).await.unwrap();
    assert_eq!(harmless.wait(secs(60)).await.unwrap(), 7);

    assert_eq!(survivor.ended(), None);
    let losses: Vec<u32> = stage
        .journal
        .starts(poison)
        .iter()
        .map(|start| start.losses)
        .collect();
    assert_eq!(losses, [0, 1, 2]);
    let letters = stage.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].failure.kind, FailureKind::Lost, "{letters:?}");
    stage.at_rest().await;
}

#[tokio::test]
async fn an_at_most_once_task_never_starts_twice() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let mut crew = Crew::of(2, stage.worker().concurrency(4).lease(LEASE));
    let handles = client
        .send_all((0..200).map(|number| {
            once(if number % 4 == 0 {
                gate.path()
            } else {
                open_gate(&stage)
            })
        }))
        .await
        .unwrap();
    for _ in 0..6 {
        random_instant().await;
        crew.kill_one();
    }
    gate.open();

    let dead = stage.at_rest().await.ids(Place::Dead);
    let (all_starts, all_ends) = (stage.journal.all_starts(), stage.journal.all_ends());
    for handle in &handles {
        let starts = all_starts.get(&handle.id()).map_or(0, Vec::len);
        let ended = all_ends.contains_key(&handle.id());
        assert!(starts <= 1, "{} started {starts} times", handle.id());
        assert!(
            ended || dead.contains(&handle.id()),
            "{} neither ended nor is a dead letter",
            handle.id()
        );
    }
    assert!(!dead.is_empty(), "no kill hit a held task");
    for letter in stage.dead_letters().await {
        assert_eq!(letter.failure.kind, FailureKind::Abandoned, "{letter:?}");
    }
    let cancelled = stage
        .journal
        .entries()
        .iter()
        .filter(|entry| entry.event == Event::Cancelled)
        .count();
    assert_eq!(cancelled, 0);
}

/// A gate that bodies need not wait at.
fn open_gate(stage: &Stage) -> String {
    let gate = stage.gate("open");
    gate.open();
    gate.path()
}
