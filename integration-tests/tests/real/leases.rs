//! Workers that are frozen, cut off or stalled: what ends with a lease, and what does not.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{Millis, ms, secs};
use lovage_integration_tests::tasks::{block, hold, quick, stubborn};
use lovage_integration_tests::{Event, Place, Stage, eventually, stays};
use lovage_test_redis::{Fault, FaultProxy};

use crate::stage;

const LEASE: Duration = ms(1500);

/// The latest end of any lease on the usual queue, by Redis's account.
async fn last_lease_end(stage: &Stage) -> Option<Millis> {
    let settings: HashMap<String, String> = stage
        .redis
        .cli(&["HGETALL", "{lovage:default}:meta"])
        .await
        .unwrap();
    let leases = settings
        .iter()
        .filter(|(field, _)| field.starts_with("lease:"));
    let end = |(_, lease): (_, &String)| lease.split(':').next()?.parse().ok();
    leases.filter_map(end).map(Millis::new).max()
}

#[tokio::test]
async fn a_duplicate_run_never_begins_under_a_live_lease() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("run");
    let frozen = stage.worker().lease(LEASE).spawn();
    let id = client.send(stubborn(gate.path())).await.unwrap().id();
    stage.started(id, 1).await;
    frozen.freeze();
    // Its last renewal may still have been on the way when it froze; nothing follows that.
    let mut lease_end = last_lease_end(&stage).await;
    stays("frozen", ms(200), async || {
        lease_end = lease_end.max(last_lease_end(&stage).await);
        true
    })
    .await;

    let _other = stage.worker().lease(LEASE).spawn();
    stage.started(id, 2).await;

    let again = stage.journal.starts(id)[1];
    assert!(
        lease_end.is_some_and(|end| end <= again.at),
        "the lease ended at {lease_end:?}, the second run is {again:?}"
    );
    gate.open();
    frozen.thaw();
    stage.at_rest().await;
}

#[tokio::test]
async fn a_stale_worker_cannot_settle() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("run");
    let frozen = stage.worker().lease(LEASE).spawn();
    let handle = client.send(stubborn(gate.path())).await.unwrap();
    stage.started(handle.id(), 1).await;
    frozen.freeze();
    let other = stage.worker().lease(LEASE).spawn();
    stage.started(handle.id(), 2).await;

    // The first run ends in a worker that was given up; the second still runs.
    gate.open_for(0);
    frozen.thaw();
    stage.ended(handle.id()).await;
    // It has come back under another identity, so it has said all that it will say under the first.
    stage.known_workers(2).await;
    let other_gate = stage.gate("others");
    let mut busy = Vec::new();
    for _ in 0..9 {
        busy.push(client.send(hold(other_gate.path())).await.unwrap().id());
    }
    eventually("both workers run tasks", async || {
        let pids = stage.journal.entries().into_iter();
        let mut pids: Vec<u32> = pids
            .filter(|entry| busy.contains(&entry.id))
            .map(|entry| entry.pid)
            .collect();
        pids.sort_unstable();
        pids.dedup();
        (pids == sorted([frozen.pid(), other.pid()])).then_some(())
    })
    .await;
    let audit = stage.audit().await;
    audit.check();
    assert!(audit.has(handle.id(), Place::Active), "{audit:?}");

    gate.open_for(1);
    other_gate.open();
    assert_eq!(
        handle.wait(secs(60)).await.unwrap(),
        1,
        "the second run's answer counts"
    );
    stage.at_rest().await;
    assert_eq!(stage.journal.starts(handle.id()).len(), 2);
}

fn sorted(mut pids: [u32; 2]) -> [u32; 2] {
    pids.sort_unstable();
    pids
}

#[tokio::test]
async fn a_body_is_told_that_its_lease_is_lost() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("run");
    let frozen = stage.worker().lease(LEASE).spawn();
    let id = client.send(hold(gate.path())).await.unwrap().id();
    stage.started(id, 1).await;
    frozen.freeze();
    let _other = stage.worker().lease(LEASE).spawn();
    stage.started(id, 2).await;

    frozen.thaw();
    eventually("the first run is cancelled", async || {
        let cancelled = stage.journal.of_kind(id, Event::Cancelled);
        cancelled
            .iter()
            .any(|entry| entry.pid == frozen.pid())
            .then_some(())
    })
    .await;
    gate.open();
    stage.at_rest().await;
    assert_eq!(stage.journal.ends(id).len(), 1);
}

/// A worker with one slot claims `id` over the proxy and never sees the answer while `fault` lasts.
async fn claim_without_an_answer(
    stage: &Stage,
    proxy: &FaultProxy,
    fault: Fault,
) -> lovage_core::TaskId {
    let client = stage.client().await;
    let gate = stage.gate("before");
    let first = client.send(hold(gate.path())).await.unwrap().id();
    stage.started(first, 1).await;
    proxy.set(fault);
    let second = client.send(quick(2)).await.unwrap().id();
    // The verdict on the first goes out, and the claim of the second with it or after it.
    gate.open();
    eventually("the second is claimed", async || {
        stage.audit().await.has(second, Place::Active).then_some(())
    })
    .await;
    second
}

#[tokio::test]
async fn nothing_starts_past_the_local_deadline() {
    let stage = stage().await;
    let client = stage.client().await;
    let proxy = FaultProxy::start(&stage.redis).await;
    let worker = stage
        .worker()
        .concurrency(1)
        .flag("prefetch", "1")
        .flag("cpu-threads", "1")
        .flag("process-concurrency", "1")
        .lease(LEASE);
    let frozen = worker.clone().broker(&proxy.url()).spawn();
    let id = claim_without_an_answer(&stage, &proxy, Fault::HoldReplies).await;

    // The answer to the claim waits in the socket of a process that wakes up long after its lease.
    frozen.freeze();
    proxy.set(Fault::Pass);
    let other = worker.spawn();
    stage.ended(id).await;
    frozen.thaw();
    stage.known_workers(2).await;
    let gate = stage.gate("after");
    let after = [
        client.send(hold(gate.path())).await.unwrap().id(),
        client.send(hold(gate.path())).await.unwrap().id(),
    ];
    for id in after {
        stage.started(id, 1).await;
    }
    gate.open();
    stage.at_rest().await;

    let starts = stage.journal.starts(id);
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert_eq!(starts[0].pid, other.pid());
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_does_not_strand_the_task() {
    let stage = stage().await;
    let proxy = FaultProxy::start(&stage.redis).await;
    // Long: not the end of the lease brings the task back, but the comparison of what is held.
    let worker = stage
        .worker()
        .concurrency(1)
        .flag("prefetch", "1")
        .flag("cpu-threads", "1")
        .flag("process-concurrency", "1")
        .lease(secs(30));
    let mut alive = worker.broker(&proxy.url()).spawn();
    let id = claim_without_an_answer(&stage, &proxy, Fault::DropReplies).await;
    proxy.set(Fault::Pass);
    proxy.reset_all();

    stage.ended(id).await;
    stage.at_rest().await;
    let starts = stage.journal.starts(id);
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert_eq!((starts[0].losses, starts[0].attempt), (0, 1));
    assert_eq!(alive.ended(), None);
}

#[tokio::test]
async fn a_stall_of_the_broker_evicts_nobody() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let _workers = [
        stage.worker().concurrency(4).lease(LEASE).spawn(),
        stage.worker().concurrency(4).lease(LEASE).spawn(),
    ];
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(client.send(stubborn(gate.path())).await.unwrap().id());
    }
    for id in &ids {
        stage.started(*id, 1).await;
    }

    stage.redis.pause();
    stays("stalled", 2 * LEASE, async || true).await;
    stage.redis.resume();
    // Longer than the two looks of recovery are apart.
    stays("nobody is evicted", 2 * LEASE, async || {
        ids.iter().all(|id| stage.journal.starts(*id).len() == 1)
    })
    .await;
    gate.open();
    stage.at_rest().await;

    for id in &ids {
        assert_eq!(stage.journal.starts(*id).len(), 1, "{id}");
        assert_eq!(stage.journal.ends(*id).len(), 1, "{id}");
    }
}

#[tokio::test]
async fn bodies_that_block_every_thread_keep_their_lease() {
    let stage = stage().await;
    let client = stage.client().await;
    let gate = stage.gate("all");
    let _blocked = stage.worker().concurrency(16).lease(LEASE).spawn();
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(client.send(block(gate.path())).await.unwrap().id());
    }
    eventually("some block", async || {
        ids.iter()
            .any(|id| !stage.journal.starts(*id).is_empty())
            .then_some(())
    })
    .await;
    let _other = stage.worker().concurrency(1).lease(LEASE).spawn();

    stays(
        "nothing is taken from a worker that is alive",
        3 * LEASE,
        async || ids.iter().all(|id| stage.journal.starts(*id).len() <= 1),
    )
    .await;
    gate.open();
    stage.at_rest().await;
    for id in &ids {
        assert_eq!(stage.journal.starts(*id).len(), 1, "{id}");
    }
}
