//! Worker, beat and producer, each under a user of Redis that may do what its role does and nothing else.

use std::time::Duration;

use lovage::Client;
use lovage::acl::{Acl, Role};
use lovage_core::secs;
use lovage_integration_tests::{Choir, ProcessBuilder, Stage, eventually};

use crate::flow::{Flow, each_ran_once, more_end, none_has_ended};
use crate::stage;

/// Longer than any refusal here: no lease ends by it.
const LONG: Duration = secs(30);

/// Lets a user named as its role do what that does.
async fn allow(stage: &Stage, role: Role) {
    let (name, rules) = (role.to_string(), Acl::of([role]).rules());
    let mut words = vec!["ACL", "SETUSER", &name, "on", ">secret"];
    words.extend(rules.iter().map(String::as_str));
    stage.redis.cli::<()>(&words).await.unwrap();
}

fn url(stage: &Stage, role: Role) -> String {
    let user = format!("redis://{role}:secret@");
    stage.redis.url().replace("redis://", &user)
}

fn acting_as(role: Role, stage: &Stage, program: ProcessBuilder) -> ProcessBuilder {
    program.flag("broker", &url(stage, role))
}

async fn producer(stage: &Stage) -> Client {
    allow(stage, Role::Producer).await;
    let builder = Client::builder(url(stage, Role::Producer)).deadline(secs(20));
    builder.connect().await.unwrap()
}

#[tokio::test]
async fn worker_beat_and_producer_work_under_users_of_their_own() {
    let stage = stage().await;
    allow(&stage, Role::Worker).await;
    allow(&stage, Role::Beat).await;
    let worker = || acting_as(Role::Worker, &stage, stage.worker().lease(LONG)).spawn();
    let mut workers = [worker(), worker()];
    stage.known_workers(workers.len()).await;
    let mut choir = Choir::of(&stage, 2, secs(5), "").await;
    let beat = acting_as(Role::Beat, &stage, choir.beat(&stage)).spawn();
    choir.beats.push(beat);
    choir.leader(0).await;

    eventually("schedules fire", async || {
        (20 < stage.journal.all_starts().len()).then_some(())
    })
    .await;
    choir.each_occurrence_ran_once(&stage).await;
    none_has_ended(&mut choir.beats);
    for beat in &mut choir.beats {
        beat.terminate();
        assert!(beat.end().await.success());
    }
    let flow = Flow::begin(&stage, &producer(&stage).await).await;
    let accepted = flow.end(&stage).await;
    each_ran_once(&stage, &accepted);
    none_has_ended(&mut workers);
    for mut worker in workers {
        assert!(!worker.says("no permissions"), "{}", worker.log());
        worker.terminate();
        assert!(worker.end().await.success());
    }
}

#[tokio::test]
async fn a_worker_whose_permissions_are_taken_away_loses_nothing_and_goes_on_when_they_are_back() {
    let stage = stage().await;
    allow(&stage, Role::Worker).await;
    let worker = stage.worker().lease(LONG);
    let mut worker = [acting_as(Role::Worker, &stage, worker).spawn()];
    stage.known_workers(1).await;
    let flow = Flow::begin(&stage, &producer(&stage).await).await;
    more_end(&stage, 50).await;

    let taken = ["ACL", "SETUSER", "worker", "clearselectors"];
    stage.redis.cli::<()>(&taken).await.unwrap();
    eventually("the worker says what it may not do", async || {
        worker[0].says("no permissions").then_some(())
    })
    .await;
    none_has_ended(&mut worker);
    allow(&stage, Role::Worker).await;

    let accepted = flow.end(&stage).await;
    each_ran_once(&stage, &accepted);
    none_has_ended(&mut worker);
}
