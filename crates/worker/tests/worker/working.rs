//! How a worker works: what it claims, on which lane it runs it, how it keeps its lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::support::{Act, Compute, Stand, envelope, queue, registry, send, until};
use lovage_core::{Broker, Inspect, Membership, Place, States, When, WorkerId, hours, ms, secs};
use lovage_worker::{NotReady, Queues, StartError, Worker};

#[tokio::test]
async fn a_worker_without_the_state_of_a_task_does_not_start() {
    let stand = Stand::new();
    let error = stand
        .worker()
        .states(States::new())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Registry(_)));
    let text = error.to_string();
    assert!(text.contains("\"act\"") && text.contains("Probe"), "{text}");
}

#[tokio::test]
async fn a_worker_with_senseless_settings_does_not_start() {
    let stand = Stand::new();
    let no_queue = stand.with(|it| it.queues = Some(Queues::Strict(Vec::new())));
    assert!(matches!(no_queue.start().await, Err(StartError::Queues(_))));
    let short = stand.with(|it| it.lease = ms(1));
    assert!(matches!(short.start().await, Err(StartError::Settings(_))));
}

#[tokio::test]
async fn without_queues_named_a_worker_serves_those_of_its_tasks() {
    let stand = Stand::new();
    let builder = Worker::builder(stand.broker.clone(), registry());
    let states = States::new().with(Arc::clone(&stand.probe));
    let worker = builder.states(states).start().await.unwrap();
    stand.probe.open();
    stand.send(Act::Succeed).await;
    send(&stand.memory, &envelope("compute", &Compute)).await;
    until("both run", || stand.probe.finished() == 2).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn long_tasks_are_never_hoarded() {
    let stand = Stand::new();
    for _ in 0..40 {
        stand.send(Act::Dawdle).await;
    }
    let worker = stand.worker().start().await.unwrap();
    stand.until_empty().await;
    // The bound: one a slot, and as many that have ended but are not settled yet.
    let held = stand.broker.faults.claimed_max.load(Ordering::SeqCst);
    assert!(held <= 2 * 4, "{held} held");
    worker.shutdown().await;
}

#[tokio::test]
async fn with_a_prefetch_of_one_no_more_is_held_than_there_are_slots() {
    let stand = Stand::new();
    for _ in 0..200 {
        stand.send(Act::Succeed).await;
    }
    let worker = stand
        .with(|it| it.prefetch = Some(1))
        .start()
        .await
        .unwrap();
    stand.until_empty().await;
    let held = stand.broker.faults.claimed_max.load(Ordering::SeqCst);
    // What is being settled in the same trip counts as held until it is.
    assert!(held <= 2 * 4, "{held} held");
    worker.shutdown().await;
}

#[tokio::test]
async fn what_waits_too_long_for_a_slot_is_given_back() {
    let stand = Stand::new();
    // Short runs first, so that the worker takes more than it has slots.
    for _ in 0..200 {
        stand.send(Act::Succeed).await;
    }
    let worker = stand.worker().start().await.unwrap();
    until("the short ones are done", || stand.probe.finished() == 200).await;
    for _ in 0..20 {
        stand.send(Act::Wait).await;
    }
    until("the slots are full", || stand.probe.started() == 204).await;
    let start = Instant::now();
    while stand.counts().await.active != 4 {
        assert!(start.elapsed() < secs(20), "{:?}", stand.counts().await);
        tokio::time::sleep(ms(5)).await;
    }
    stand.probe.gate.add_permits(100);
    stand.until_empty().await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_queue_of_cpu_tasks_is_claimed_only_for_free_threads() {
    let stand = Stand::new();
    for _ in 0..10 {
        send(&stand.memory, &envelope("compute", &Compute)).await;
    }
    let worker = stand
        .with(|it| it.queues = Some(queue("compute").into()))
        .start()
        .await
        .unwrap();
    until("one runs", || stand.probe.started() == 1).await;
    let active = stand.memory.counts(&queue("compute")).await.unwrap().active;
    assert_eq!(active, 1, "one cpu thread, one task");
    stand.probe.open();
    until("all have run", || stand.probe.finished() == 10).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_full_cpu_lane_leaves_the_async_lane_alone() {
    let stand = Stand::new();
    for _ in 0..10 {
        send(&stand.memory, &envelope("compute", &Compute)).await;
    }
    let queues: Queues = "compute,default".parse().unwrap();
    let worker = stand
        .with(|it| it.queues = Some(queues))
        .start()
        .await
        .unwrap();
    until("the cpu lane is full", || stand.probe.started() == 1).await;
    for _ in 0..50 {
        stand.send(Act::Succeed).await;
    }
    until("the async tasks run", || stand.probe.finished() == 50).await;
    stand.probe.open();
    until("the others run", || stand.probe.finished() == 60).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn strict_queues_are_served_in_their_order() {
    let stand = Stand::new();
    for _ in 0..20 {
        send(&stand.memory, &envelope("low", &Act::Wait)).await;
        send(&stand.memory, &envelope("high", &Act::Wait)).await;
    }
    let queues: Queues = "high,low".parse().unwrap();
    let worker = stand
        .with(|it| it.queues = Some(queues))
        .start()
        .await
        .unwrap();
    until("the slots are full", || stand.probe.started() == 4).await;
    let low = stand.memory.counts(&queue("low")).await.unwrap();
    let high = stand.memory.counts(&queue("high")).await.unwrap();
    assert_eq!((high.active, low.active), (4, 0));
    stand.probe.gate.add_permits(100);
    until("all have run", || stand.probe.finished() == 40).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn weighted_queues_are_all_served() {
    let stand = Stand::new();
    for _ in 0..200 {
        send(&stand.memory, &envelope("mail", &Act::Wait)).await;
        send(&stand.memory, &envelope("default", &Act::Wait)).await;
    }
    let queues: Queues = "mail:3,default:1".parse().unwrap();
    let worker = stand
        .with(|it| {
            it.queues = Some(queues);
            it.concurrency = 1;
        })
        .start()
        .await
        .unwrap();
    for round in 1..=100 {
        until("one runs", || stand.probe.started() == round).await;
        stand.probe.gate.add_permits(1);
    }
    let order = stand.broker.faults.order.lock().unwrap().clone();
    let mail = order.iter().filter(|queue| *queue == "mail").count();
    assert!(
        order.len() / 2 < mail && mail < order.len(),
        "{mail} of {}",
        order.len()
    );
    stand.probe.gate.add_permits(1_000);
    worker.shutdown_now().await;
}

/// Short runs fill a lane's buffer for as long as there are more; what comes to another queue meanwhile must be heard.
async fn what_comes_while_short_runs_fill_the_lane(queues: &str) {
    let stand = Stand::new();
    for _ in 0..10_000 {
        send(&stand.memory, &envelope("short", &Act::Succeed)).await;
    }
    let queues: Queues = queues.parse().unwrap();
    let worker = stand
        .with(|it| it.queues = Some(queues))
        .start()
        .await
        .unwrap();
    until("the short ones run", || 500 <= stand.probe.finished()).await;
    for _ in 0..8 {
        send(&stand.memory, &envelope("other", &Act::Dawdle)).await;
    }
    let start = Instant::now();
    loop {
        let other = stand.memory.counts(&queue("other")).await.unwrap();
        if other.ready + other.active == 0 {
            break;
        }
        assert!(start.elapsed() < secs(20), "{other:?}");
        tokio::time::sleep(ms(1)).await;
    }
    let short = stand.memory.counts(&queue("short")).await.unwrap();
    assert!(0 < short.ready, "the others ran only when these were done");
    worker.shutdown_now().await;
}

#[tokio::test]
async fn a_queue_that_comes_first_is_heard_while_a_later_one_fills_the_lane() {
    what_comes_while_short_runs_fill_the_lane("other,short").await;
}

#[tokio::test]
async fn a_queue_is_heard_while_another_of_its_weight_fills_the_lane() {
    what_comes_while_short_runs_fill_the_lane("other:1,short:1").await;
}

#[tokio::test]
async fn an_idle_worker_waits_instead_of_polling() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    let faults = &stand.broker.faults;
    until("it waits", || faults.waits.load(Ordering::SeqCst) == 1).await;
    assert_eq!(
        faults.claims.load(Ordering::SeqCst),
        1,
        "one claim found the queue empty"
    );
    stand.send(Act::Succeed).await;
    until("it runs", || stand.probe.finished() == 1).await;
    stand.until_empty().await;
    assert_eq!(faults.claims.load(Ordering::SeqCst), 2, "one claim a ring");
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_bell_that_fails_is_tried_less_and_less_often_and_nothing_waits_for_it() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.bells_fail, true);
    let worker = stand.worker().start().await.unwrap();
    let waits = || stand.broker.faults.waits.load(Ordering::SeqCst);
    until("it is tried", || waits() == 1).await;
    let first = tokio::time::Instant::now();
    until("it is tried again and again", || 8 <= waits()).await;
    assert!(secs(2) <= first.elapsed(), "{:?}", first.elapsed());
    stand.send(Act::Succeed).await;
    until("it runs all the same", || stand.probe.finished() == 1).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.lose_claims, true);
    let id = stand.send(Act::Succeed).await;
    let worker = stand.worker().start().await.unwrap();
    let start = Instant::now();
    while stand.memory.state(&queue("default"), id).await.unwrap() != Place::Active {
        assert!(start.elapsed() < secs(20));
        tokio::time::sleep(ms(2)).await;
    }
    stand.broker.set(|faults| &faults.lose_claims, false);
    until("it runs after all", || stand.probe.finished() == 1).await;
    stand.until_empty().await;
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_expires_while_the_claim_is_on_its_way_does_not_start() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.late_claims, true);
    let mut message = envelope("default", &Act::Succeed);
    message.expires = Some(When::In(secs(1)));
    send(&stand.memory, &message).await;
    let worker = stand.worker().start().await.unwrap();
    until("it is claimed", || {
        stand.broker.faults.claims.load(Ordering::SeqCst) == 1
    })
    .await;
    tokio::time::advance(secs(2)).await;
    stand.broker.set(|faults| &faults.late_claims, false);
    until("it is settled", || worker.stats().expired == 1).await;
    assert_eq!(stand.probe.started(), 0);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_repeated_and_answered_as_stale() {
    let stand = Stand::new();
    let worker = stand.worker().start().await.unwrap();
    stand.broker.set(|faults| &faults.lose_settles, true);
    stand.send(Act::Succeed).await;
    stand.until_empty().await;
    assert_eq!(worker.stats().held, 1, "not confirmed yet");
    stand.broker.set(|faults| &faults.lose_settles, false);
    until("it is answered", || worker.stats().held == 0).await;
    assert_eq!((stand.probe.finished(), worker.stats().stale), (1, 1));
    worker.shutdown().await;
}

#[tokio::test]
async fn nothing_is_claimed_while_settlements_are_refused() {
    let stand = Stand::new();
    for _ in 0..40 {
        stand.send(Act::Succeed).await;
    }
    stand.broker.set(|faults| &faults.refuse_settles, true);
    let worker = stand
        .with(|it| it.prefetch = Some(1))
        .start()
        .await
        .unwrap();
    until("it has tried again", || {
        4 <= stand.broker.faults.refused_settles.load(Ordering::SeqCst)
    })
    .await;
    // One a slot, as many before the first settlement has begun, and as many in the trip of its refusal.
    let started = stand.probe.started();
    assert!(started <= 3 * 4, "{started} started");
    stand.broker.set(|faults| &faults.refuse_settles, false);
    stand.until_empty().await;
    assert_eq!(stand.probe.finished(), 40);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_goes_on_when_its_broker_was_away() {
    let stand = Stand::new();
    stand.broker.set(|faults| &faults.away, true);
    let worker = stand.worker().start().await.unwrap();
    stand.send(Act::Succeed).await;
    let no_lease = NotReady::NoLease {
        queue: queue("default"),
    };
    assert_eq!(worker.ready(), Err(vec![no_lease]));
    stand.broker.set(|faults| &faults.away, false);
    until("it runs", || stand.probe.finished() == 1).await;
    assert_eq!(worker.ready(), Ok(()));
    worker.shutdown().await;
}

#[tokio::test]
async fn a_lost_identity_is_replaced_and_its_late_answers_have_no_effect() {
    let stand = Stand::new();
    let worker = stand.with(|it| it.lease = ms(300)).start().await.unwrap();
    let id = stand.send(Act::WaitPolitely).await;
    until("the body runs", || stand.probe.started() == 1).await;

    // Another worker finds the lease ended twice, and takes the task back.
    stand.broker.set(|faults| &faults.away, true);
    until("the lease has ended", || worker.ready().is_err()).await;
    stand.memory.advance(secs(1));
    for _ in 0..2 {
        stand
            .memory
            .recover(&queue("default"), ms(100))
            .await
            .unwrap();
        stand.memory.advance(ms(200));
    }
    assert_eq!(
        stand.memory.state(&queue("default"), id).await.unwrap(),
        Place::Ready
    );
    let other = WorkerId::random();
    stand
        .memory
        .register(other, &queue("default"), hours(1))
        .await
        .unwrap();
    let claim = stand
        .memory
        .claim(other, &queue("default"), std::num::NonZeroU16::MIN)
        .await
        .unwrap();
    assert!(matches!(claim, lovage_core::Claim::Granted(batch) if batch.deliveries.len() == 1));

    stand.broker.set(|faults| &faults.away, false);
    until("the old run is told to stop", || {
        stand.probe.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
    until("its answer is dropped", || worker.stats().held == 0).await;
    assert_eq!((worker.stats().leases_lost, worker.stats().stale), (1, 1));
    assert_eq!(
        stand.counts().await.active,
        1,
        "the other worker still holds it"
    );

    stand.send(Act::Succeed).await;
    until("it works under a new identity", || {
        stand.probe.finished() == 1
    })
    .await;
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_blocks_the_whole_runtime_does_not_lose_the_lease() {
    let stand = Stand::new();
    let worker = stand.with(|it| it.lease = ms(600)).start().await.unwrap();
    stand.send(Act::Block).await;
    let (memory, probe) = (stand.memory.clone(), Arc::clone(&stand.probe));
    // The watcher has a runtime of its own: the worker's has one thread, and that one is blocked.
    let watcher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            until("the body blocks", || probe.started() == 1).await;
            let start = Instant::now();
            while start.elapsed() < secs(2) {
                memory.advance(ms(50));
                memory.recover(&queue("default"), ms(100)).await.unwrap();
                tokio::time::sleep(ms(50)).await;
            }
            let active = memory.counts(&queue("default")).await.unwrap().active;
            probe.open();
            active
        })
    });
    let active = tokio::task::spawn_blocking(move || watcher.join().unwrap())
        .await
        .unwrap();
    assert_eq!(active, 1, "nobody took the task back");
    until("the body ends", || stand.probe.finished() == 1).await;
    stand.until_empty().await;
    assert_eq!((worker.stats().leases_lost, worker.stats().done), (0, 1));
    worker.shutdown().await;
}
