//! What scripts do to keys that are not as they should be, and where Redis refuses.

use crate::common::{
    LEASE, Refusal, at_level, at_most, claim, connect, done, dump, encoded, envelope, granted,
    mail, send, worker,
};
use bytes::Bytes;
use lovage_broker_redis::RedisBroker;
use lovage_core::{
    Broker, Cancelled, Control, Delivery, EnqueueError, Failure, FailureKind, Inspect, Membership,
    Place, Revived, Settlement, TaskId, Verdict, When, WorkerId, ms, secs,
};
use lovage_test_redis::RedisServer;

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    for _ in 0..3 {
        let sent = send(&broker, 1).await;
        server.cli::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
        let held = claim(&broker, worker, 1).await;
        assert_eq!(held[0].id, sent[0]);
        server.cli::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
        let settled = broker.settle(worker, &mail(), vec![done(&held[0])]).await;
        assert_eq!(settled.unwrap().stale, []);
        server.cli::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_redis_refuses_new_tasks_and_still_drains() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let sent = send(&broker, 3).await;
    server
        .cli::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();

    let before = dump(&server).await;
    let refused = broker.enqueue(&mail(), encoded(1)).await;
    assert!(
        matches!(refused, Err(EnqueueError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(dump(&server).await, before);

    let held = claim(&broker, worker, 3).await;
    assert_eq!(held.len(), 3);
    broker.renew(worker, &mail(), LEASE).await.unwrap();
    broker.recover(&mail(), secs(1)).await.unwrap();
    let verdicts = vec![
        done(&held[0]),
        settlement(&held[1], Verdict::Release),
        settlement(&held[2], Verdict::RetryIn(secs(60))),
    ];
    let settled = broker.settle(worker, &mail(), verdicts).await.unwrap();
    assert_eq!(settled.stale, []);
    assert_eq!(broker.holdings(worker, &mail()).await.unwrap(), []);
    assert_eq!(
        broker.cancel(&mail(), sent[2]).await.unwrap(),
        Cancelled::Removed
    );
    crate::common::worker(&broker).await;
}

#[tokio::test]
async fn rubbish_in_a_ready_list_is_kept_as_a_dead_letter() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let sent = send(&broker, 2).await;
    for rubbish in ["x", "{\"id\": \"not one of ours\"}"] {
        server
            .cli::<()>(&["LPUSH", "{lovage:mail}:ready:5", rubbish])
            .await
            .unwrap();
    }
    // Sixteen bytes without an envelope are an id of a task that is gone.
    server
        .cli::<()>(&["LPUSH", "{lovage:mail}:ready:5", "0123456789abcdef"])
        .await
        .unwrap();

    let held = claim(&broker, worker, 10).await;
    assert_eq!(held.iter().map(|held| held.id).collect::<Vec<_>>(), sent);
    let mut letters = broker.dead_letters(&mail(), 0, 10).await.unwrap();
    letters.sort_by_key(|letter| letter.bytes.len());
    assert_eq!(
        letters
            .iter()
            .map(|letter| &letter.bytes[..])
            .collect::<Vec<_>>(),
        [&b"x"[..], b"{\"id\": \"not one of ours\"}"]
    );
    for letter in &letters {
        assert_eq!(
            letter.failure.kind,
            FailureKind::Malformed,
            "{}",
            letter.failure
        );
        assert_eq!(broker.state(&mail(), letter.id).await.unwrap(), Place::Dead);
    }
    // It can be shown, revived, claimed and settled like any other.
    assert_eq!(
        broker.revive(&mail(), letters[0].id).await.unwrap(),
        Revived::Ready
    );
    let revived = claim(&broker, worker, 10).await;
    assert_eq!(revived[0].bytes, Bytes::from_static(b"x"));
    let failure = Failure::new(FailureKind::Malformed, "not an envelope");
    let bury = Verdict::Bury(failure);
    let settled = broker
        .settle(worker, &mail(), vec![settlement(&revived[0], bury)])
        .await
        .unwrap();
    assert_eq!(settled.stale, []);
}

/// Somebody wrote it by hand. A script that ended in its midst would leave what it took in no place.
#[tokio::test]
async fn a_count_of_ghosts_that_is_no_whole_number_strands_nothing() {
    let id = TaskId::from_bytes(*b"a task to damage");
    for (count, skipped) in [
        ("1.5", 1),
        ("1e3", 1),
        ("inf", 1),
        ("0.5", 0),
        ("-2", 0),
        ("many", 0),
    ] {
        let server = RedisServer::start().await;
        let broker = connect(&server).await;
        let worker = worker(&broker).await;
        let damage = ["HSET", "{lovage:mail}:ghosts", "a task to damage5", count];
        let mut task = envelope();
        task.id = id;
        let task = vec![task.encode().unwrap()];

        let cancelled = send(&broker, 1).await[0];
        broker.cancel(&mail(), cancelled).await.unwrap();
        broker.enqueue(&mail(), task.clone()).await.unwrap();
        send(&broker, 2).await;
        server.cli::<()>(&damage).await.unwrap();
        let held = claim(&broker, worker, 9).await;
        assert_eq!(held.len(), 3 - skipped, "{count}");
        let settled = held.iter().map(done).collect();
        broker.settle(worker, &mail(), settled).await.unwrap();
        broker.cancel(&mail(), id).await.unwrap();

        broker.enqueue(&mail(), task).await.unwrap();
        server.cli::<()>(&damage).await.unwrap();
        let cancelled = broker.cancel(&mail(), id).await.unwrap();
        assert_eq!(cancelled, Cancelled::Removed, "{count}");
        assert_eq!(claim(&broker, worker, 9).await, [], "{count}");
    }
}

/// Each key in turn is of the wrong type; each verb in turn meets it. It says so or works, and one that refuses has
/// written nothing.
#[tokio::test]
async fn a_key_of_the_wrong_type_is_reported_and_nothing_is_written() {
    const KEYS: [&str; 20] = [
        "meta",
        "tasks",
        "ready:9",
        "ready:5",
        "ready:0",
        "scheduled",
        "active",
        "identities",
        "suspects",
        "dead",
        "reasons",
        "facts",
        "cancels",
        "ghosts",
        "waiting",
        "bell",
        "reports",
        "losses",
        "locks",
        "callbacks",
    ];
    let server = RedisServer::start().await;
    let mut refusals = 0;
    for key in KEYS {
        for verb in 0..Verb::ALL.len() {
            server.cli::<()>(&["FLUSHALL"]).await.unwrap();
            let broker = connect(&server).await;
            let prepared = Prepared::new(&broker).await;
            let key = match key {
                "active" => format!("{{lovage:mail}}:active:{}", prepared.worker),
                other => format!("{{lovage:mail}}:{other}"),
            };
            server.cli::<()>(&["DEL", &key]).await.unwrap();
            server.cli::<()>(&["SET", &key, "wrong"]).await.unwrap();
            let before = dump(&server).await;
            let verb = Verb::ALL[verb];
            match prepared.call(&broker, verb).await {
                Ok(()) => {}
                Err(Refusal::Misconfigured) => {
                    refusals += 1;
                    let after = dump(&server).await;
                    assert_eq!(after, before, "{verb:?} wrote before it refused {key}");
                }
                Err(Refusal::Other(error)) => panic!("{verb:?} met {key}: {error}"),
            }
            let kept: String = server.cli(&["GET", &key]).await.unwrap();
            assert_eq!(kept, "wrong", "{verb:?} replaced {key}");
        }
    }
    // Most pairs do not meet. These are far fewer than do, and far more than none.
    assert!(60 < refusals, "only {refusals} refusals");
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Enqueue,
    EnqueueLater,
    Claim,
    SettleDone,
    SettleEach,
    Renew,
    Recover,
    Register,
    Retire,
    CancelReady,
    CancelScheduled,
    CancelDead,
    CancelActive,
    Revive,
    Counts,
}

impl Verb {
    const ALL: [Self; 15] = [
        Self::Enqueue,
        Self::EnqueueLater,
        Self::Claim,
        Self::SettleDone,
        Self::SettleEach,
        Self::Renew,
        Self::Recover,
        Self::Register,
        Self::Retire,
        Self::CancelReady,
        Self::CancelScheduled,
        Self::CancelDead,
        Self::CancelActive,
        Self::Revive,
        Self::Counts,
    ];
}

/// A queue with something in every place, in every rare one as well.
struct Prepared {
    worker: WorkerId,
    held: Vec<Delivery>,
    ready: lovage_core::TaskId,
    scheduled: lovage_core::TaskId,
    dead: lovage_core::TaskId,
}

impl Prepared {
    async fn new(broker: &RedisBroker) -> Self {
        let mail = mail();
        let lost = WorkerId::random();
        broker.register(lost, &mail, LEASE).await.unwrap();
        send(broker, 1).await;
        claim(broker, lost, 1).await;
        broker.renew(lost, &mail, ms(1)).await.unwrap();
        let worker = worker(broker).await;
        // The dead, a lost and a ghost.
        let ids = send(broker, 4).await;
        let held = claim(broker, worker, 3).await;
        let failure = Failure::new(FailureKind::Error, "no");
        let bury = Verdict::Bury(failure);
        let verdicts = vec![
            settlement(&held[0], bury),
            settlement(&held[1], Verdict::Park(secs(60))),
        ];
        broker.settle(worker, &mail, verdicts).await.unwrap();
        assert_eq!(
            broker.cancel(&mail, held[2].id).await.unwrap(),
            Cancelled::Marked
        );
        assert_eq!(
            broker.cancel(&mail, ids[3]).await.unwrap(),
            Cancelled::Removed
        );
        send(broker, 6).await;
        let held = claim(broker, worker, 6).await;
        let mut later = envelope();
        later.start = Some(When::In(secs(60)));
        let scheduled = later.id;
        let tasks = vec![at_level(0), at_level(9), later.encode().unwrap()];
        broker.enqueue(&mail, tasks).await.unwrap();
        let ready = send(broker, 1).await[0];
        // Another look, and the lost one's task is taken back, and it is forgotten.
        broker.recover(&mail, ms(0)).await.unwrap();
        Self {
            worker,
            held,
            ready,
            scheduled,
            dead: ids[0],
        }
    }

    async fn call(&self, broker: &RedisBroker, verb: Verb) -> Result<(), Refusal> {
        let mail = mail();
        match verb {
            Verb::Enqueue => {
                let tasks = vec![at_level(9), at_level(5), at_level(0)];
                broker.enqueue(&mail, tasks).await?;
            }
            Verb::EnqueueLater => {
                let mut later = envelope();
                later.start = Some(When::In(ms(500)));
                let tasks = vec![later.encode().unwrap(), at_level(5)];
                broker.enqueue(&mail, tasks).await?;
            }
            Verb::Claim => {
                broker.claim(self.worker, &mail, at_most(10)).await?;
            }
            Verb::SettleDone => {
                let verdicts = self.held.iter().map(done).collect();
                broker.settle(self.worker, &mail, verdicts).await?;
            }
            Verb::SettleEach => {
                let failure = Failure::new(FailureKind::Error, "no");
                let verdicts = [
                    Verdict::RetryIn(ms(1)),
                    Verdict::Release,
                    Verdict::Park(ms(1)),
                    Verdict::Bury(failure),
                ];
                let verdicts = self
                    .held
                    .iter()
                    .zip(verdicts)
                    .map(|(held, verdict)| settlement(held, verdict))
                    .collect();
                broker.settle(self.worker, &mail, verdicts).await?;
            }
            Verb::Renew => {
                broker.renew(self.worker, &mail, LEASE).await?;
            }
            Verb::Recover => {
                broker.recover(&mail, ms(0)).await?;
            }
            Verb::Register => broker.register(WorkerId::random(), &mail, LEASE).await?,
            Verb::Retire => {
                broker.retire(WorkerId::random(), &mail).await?;
            }
            Verb::CancelReady => {
                broker.cancel(&mail, self.ready).await?;
            }
            Verb::CancelScheduled => {
                broker.cancel(&mail, self.scheduled).await?;
            }
            Verb::CancelDead => {
                broker.cancel(&mail, self.dead).await?;
            }
            Verb::CancelActive => {
                broker.cancel(&mail, self.held[0].id).await?;
            }
            Verb::Revive => {
                broker.revive(&mail, self.dead).await?;
            }
            Verb::Counts => {
                broker.counts(&mail).await?;
            }
        }
        Ok(())
    }
}

fn settlement(delivery: &Delivery, verdict: Verdict) -> Settlement {
    Settlement {
        id: delivery.id,
        fence: delivery.fence,
        verdict,
    }
}

#[tokio::test]
async fn a_claim_from_a_queue_of_nothing_is_empty() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let batch = granted(broker.claim(worker, &mail(), at_most(9)).await.unwrap());
    assert_eq!(
        (batch.deliveries, batch.held, batch.next_due),
        (vec![], 0, None)
    );
}
