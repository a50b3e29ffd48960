//! What holds for the reports of workers, and for the ledger of what is lost with them.

use bytes::Bytes;
use lovage_core::{
    Ack, Broker, Control, Envelope, Inspect, KnownWorker, LOSSES_KEPT_MAX, Loss, Membership, Place,
    Progress, REPORT_BYTES_MAX, Reports, RunningTask, TaskId, WorkerId, WorkerReport, secs,
};

use crate::world::ids_of;
use crate::{Harness, LEASE, PATIENCE, World};

/// What a worker on `host` says that runs some tasks, the first of which has noted something.
fn report(host: &str, running: &[TaskId]) -> WorkerReport {
    let runs = running.iter().zip(0u64..);
    WorkerReport {
        name: "eu-1".to_owned(),
        host: host.to_owned(),
        pid: 42,
        version: "0.1.0".to_owned(),
        build: Some("abc".to_owned()),
        rss_bytes: Some(5 << 30),
        running: runs
            .map(|(id, n)| RunningTask {
                id: *id,
                task: "law".to_owned(),
                ran: secs(7 + n),
                progress: (n == 0).then(|| Progress::from((3, 9))),
            })
            .collect(),
    }
}

async fn say<H: Harness>(world: &World<H>, worker: WorkerId, report: WorkerReport) -> bool {
    let said = world.broker.report(worker, &world.queue, report.encode());
    said.await.unwrap()
}

async fn workers<H: Harness>(world: &World<H>, offset: usize, limit: usize) -> Vec<KnownWorker> {
    let looked = world.broker.workers(&world.queue, offset, limit).await;
    let looked = looked.unwrap();
    assert_eq!(looked.now, world.now());
    looked.found
}

async fn losses<H: Harness>(world: &World<H>, offset: usize, limit: usize) -> Vec<Loss> {
    let losses = world.broker.losses(&world.queue, offset, limit).await;
    losses.unwrap()
}

/// All leases end, and one call takes everything back. Answers the ledger of that call, newest first.
async fn lose_all<H: Harness>(world: &World<H>) -> Vec<Loss> {
    world.advance(LEASE);
    assert_eq!(world.recover_with_losses().await.losses, []);
    world.advance(PATIENCE);
    let mut lost = world.recover_with_losses().await.losses;
    lost.reverse();
    lost
}

pub async fn a_report_is_shown_beside_its_worker(harness: impl Harness) {
    let world = World::start(harness).await;
    let (worker, silent) = (world.worker().await, world.worker().await);
    let said = report("db", &[TaskId::random()]);
    assert!(say(&world, worker, report("old", &[])).await);
    world.advance(secs(1));
    assert!(say(&world, worker, said.clone()).await);
    let mut found = workers(&world, 0, 9).await;
    found.sort_by_key(|known| known.report.is_none());
    let lease_end = world.now().plus(LEASE.saturating_sub(secs(1)));
    let expected = [(worker, Some((world.now(), said))), (silent, None)];
    let expected = expected.map(|(worker, report)| KnownWorker {
        worker,
        lease_end,
        report,
    });
    assert_eq!(found, expected);
}

pub async fn workers_come_in_pages(harness: impl Harness) {
    let world = World::start(harness).await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(world.worker().await);
    }
    let mut found = Vec::new();
    for (offset, count) in [(0, 2), (2, 2), (4, 1), (5, 0)] {
        let page = workers(&world, offset, 2).await;
        assert_eq!(page.len(), count, "offset {offset}");
        found.extend(page.iter().map(|known| known.worker));
    }
    assert_eq!(workers(&world, 0, 0).await, []);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

pub async fn a_report_ends_with_its_identity(harness: impl Harness) {
    let world = World::start(harness).await;
    let (retired, lost) = (world.worker().await, world.worker().await);
    for worker in [retired, lost] {
        assert!(say(&world, worker, report("db", &[])).await);
    }
    let gone = world.broker.retire(retired, &world.queue).await.unwrap();
    assert!(gone);
    lose_all(&world).await;
    for worker in [retired, lost, WorkerId::random()] {
        assert!(!say(&world, worker, report("db", &[])).await);
    }
    assert_eq!(workers(&world, 0, 9).await, []);
}

pub async fn a_report_has_a_limit(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let large = Bytes::from(vec![0; REPORT_BYTES_MAX + 1]);
    let said = world.broker.report(worker, &world.queue, large).await;
    assert!(said.is_err());
}

/// Guarantee `every_loss_is_recorded`.
pub async fn every_loss_is_recorded(harness: impl Harness) {
    let world = World::start(harness).await;
    let worker = world.worker().await;
    let once = Envelope {
        ack: Ack::Early,
        ..world.envelope()
    };
    let sent = world.send(3).await;
    let once = world.send_one(once).await;
    let mut held = world.claim(worker, 2).await;
    held.extend(world.claim(worker, 2).await);
    world.broker.cancel(&world.queue, sent[1]).await.unwrap();
    let reported_at = world.now();
    assert!(say(&world, worker, report("db", &[sent[0], once])).await);

    let written = lose_all(&world).await;

    assert_eq!(losses(&world, 0, 9).await, written);
    assert_eq!(losses(&world, 1, 2).await, written[1..3]);
    let mut ids: Vec<TaskId> = written.iter().map(|loss| loss.id).collect();
    let mut expected = ids_of(&held);
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected, "each delivery once");
    for delivery in &held {
        let loss = written.iter().find(|loss| loss.id == delivery.id).unwrap();
        let became = match loss.id {
            id if id == sent[1] => Place::Gone,
            id if id == once => Place::Dead,
            _ => Place::Ready,
        };
        assert_eq!(loss.became, became);
        assert_eq!(world.state(loss.id).await, became);
        assert_eq!((loss.fence, loss.lost_at), (delivery.fence, world.now()));
        assert_eq!((loss.losses, loss.held_for()), (1, LEASE + PATIENCE));
        let by = &loss.worker;
        assert_eq!((by.id, by.reported_at), (worker, Some(reported_at)));
        assert_eq!(
            (by.name.as_str(), by.host.as_str(), by.pid),
            ("eu-1", "db", 42)
        );
        assert_eq!(
            (by.version.as_str(), by.rss_bytes),
            ("0.1.0", Some(5 << 30))
        );
        assert_eq!(by.build.as_deref(), Some("abc"));
        let (ran, progress) = match loss.id {
            id if id == sent[0] => (Some(secs(7)), Some(Progress::Count(3, 9))),
            id if id == once => (Some(secs(8)), None),
            _ => (None, None),
        };
        assert_eq!((loss.ran, &loss.progress), (ran, &progress));
        assert_eq!(loss.task.as_deref(), ran.map(|_| "law"));
    }
    let letters = world.broker.dead_letters(&world.queue, 0, 9).await.unwrap();
    let message = &letters[0].failure.message;
    assert!(message.contains("on host db, pid 42"), "{message}");
}

pub async fn a_loss_without_a_report_is_recorded_all_the_same(harness: impl Harness) {
    let world = World::start(harness).await;
    let (silent, garbled) = (world.worker().await, world.worker().await);
    let sent = world.send(2).await;
    world.claim_one(silent).await;
    world.claim_one(garbled).await;
    let rubbish = Bytes::from_static(b"\xc1 rubbish");
    let said = world.broker.report(garbled, &world.queue, rubbish).await;
    assert!(said.unwrap());
    let written = lose_all(&world).await;
    let ids: Vec<TaskId> = written.iter().map(|loss| loss.id).collect();
    assert_eq!(ids, [sent[1], sent[0]]);
    for loss in written {
        assert_eq!((loss.worker.reported_at, loss.ran), (None, None));
    }
}

pub async fn a_task_that_is_lost_again_is_recorded_again(harness: impl Harness) {
    let world = World::start(harness).await;
    world.send(1).await;
    for losses in 1..=3 {
        let worker = world.worker().await;
        world.claim_one(worker).await;
        let lost = lose_all(&world).await;
        assert_eq!(lost[0].losses, losses);
    }
    let ledger = losses(&world, 0, 9).await;
    let counts: Vec<u32> = ledger.iter().map(|loss| loss.losses).collect();
    assert_eq!(counts, [3, 2, 1], "newest first");
    assert_eq!(ledger[0].became, Place::Dead);
}

pub async fn the_ledger_of_losses_is_bounded(harness: impl Harness) {
    let world = World::start(harness).await;
    for _ in 0..2 {
        let worker = world.worker().await;
        world.send(600).await;
        world.claim(worker, 600).await;
        world.lose_all_workers().await;
    }
    let mut ledger = losses(&world, 0, 700).await;
    ledger.extend(losses(&world, 700, 700).await);
    assert_eq!(ledger.len(), LOSSES_KEPT_MAX);
    assert!(ledger.is_sorted_by(|newer, older| older.lost_at <= newer.lost_at));
    assert_eq!(losses(&world, LOSSES_KEPT_MAX, 9).await, []);
    let none = world.broker.recover(&world.queue, PATIENCE).await.unwrap();
    assert_eq!(none.losses, []);
}
