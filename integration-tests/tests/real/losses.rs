//! What is known of a worker that was killed, and of what it was at.

use lovage::{Place, Progress};
use lovage_core::{FailureKind, ms};
use lovage_integration_tests::eventually;
use lovage_integration_tests::tasks::{hold, once, work};

use crate::stage;

#[tokio::test]
async fn every_loss_is_recorded() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let worker = stage.worker().concurrency(3).lease(ms(1500));
    let mut lost = worker
        .clone()
        .flag("name", "victim")
        .flag("build", "2026-11")
        .spawn();
    let noted = client.send(work(gate.path())).await.unwrap().id();
    let silent = client.send(hold(gate.path())).await.unwrap().id();
    let once = client.send(once(gate.path())).await.unwrap().id();
    let seen = eventually("all three runs are reported", async || {
        let looked = client.workers("default", 0, 9).await.unwrap();
        let report = looked.found.first()?.report.clone()?.1;
        let noted =
            |report: &lovage::WorkerReport| report.running.iter().any(|run| run.progress.is_some());
        (report.running.len() == 3 && noted(&report)).then_some(report)
    })
    .await;
    assert_eq!((seen.pid, seen.name.as_str()), (lost.pid(), "victim"));
    assert!(
        seen.rss_bytes.is_some_and(|bytes| 1 << 20 < bytes),
        "{seen:?}"
    );

    lost.kill9();
    let other = worker.spawn();
    let losses = eventually("three losses are recorded", async || {
        let losses = client.losses("default", 0, 9).await.unwrap();
        (losses.len() == 3).then_some(losses)
    })
    .await;
    gate.open();

    for loss in &losses {
        let by = &loss.worker;
        assert_eq!((by.pid, &by.host), (lost.pid(), &seen.host));
        assert_eq!(
            (by.name.as_str(), by.build.as_deref()),
            ("victim", Some("2026-11"))
        );
        assert_eq!(by.version, seen.version);
        assert!(by.rss_bytes.is_some() && by.reported_at < Some(loss.lost_at));
        assert!(
            loss.ran.is_some_and(|ran| ran <= loss.held_for()),
            "{loss:?}"
        );
        let (became, progress, task) = match loss.id {
            id if id == noted => (Place::Ready, Some(Progress::Count(3, 10)), "work"),
            id if id == once => (Place::Dead, None, "once"),
            id => {
                assert_eq!(id, silent);
                (Place::Ready, None, "hold")
            }
        };
        assert_eq!((loss.became, &loss.progress), (became, &progress));
        assert_eq!(loss.task.as_deref(), Some(task));
    }
    stage.at_rest().await;
    let letters = stage.dead_letters().await;
    assert_eq!(letters[0].failure.kind, FailureKind::Abandoned);
    let place = format!("on host {}, pid {}, build 2026-11", seen.host, lost.pid());
    assert!(letters[0].failure.message.contains(&place), "{letters:?}");
    assert!(other.says("a worker was lost with its tasks"));
    assert!(other.says("at 3 of 10"));
    assert_eq!(client.losses("default", 0, 9).await.unwrap().len(), 3);
}
