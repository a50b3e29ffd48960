//! Queues with partitions: where their tasks are, who is woken, and what they cost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU16;

use lovage_broker_redis::RedisBroker;
use lovage_core::{
    Broker, Callbacks, Control, DeadLetters, Delivery, Encoded, EnqueueError, Enqueued, Failure,
    FailureKind, Inspect, Membership, Partitioned, Partitioning, Partitions, Renewal, Retention,
    Settlement, TaskId, Verdict, When, WorkerId, hours, secs,
};
use lovage_test_redis::RedisServer;

use crate::common::{
    LEASE, at_most, claim, connect, done, encoded, envelope, granted, mail, send, soon, worker,
};

pub(crate) fn of(count: u64) -> Partitions {
    Partitions::new(count).unwrap()
}

pub(crate) async fn divide(broker: &RedisBroker, count: u64) {
    let answer = broker.partition(&mail(), of(count)).await.unwrap();
    assert_eq!(answer, Partitioned::Done);
}

/// The tag of a partition of the queue `mail`.
pub(crate) fn tag(partition: u8) -> String {
    match partition {
        0 => "{lovage:mail}".to_owned(),
        number => format!("{{lovage:mail#{number}}}"),
    }
}

pub(crate) async fn stored(server: &RedisServer, partition: u8) -> Vec<TaskId> {
    let key = format!("{}:tasks", tag(partition));
    let ids: Vec<Vec<u8>> = server.cli(&["HKEYS", &key]).await.unwrap();
    ids.iter()
        .map(|id| TaskId::try_from(id.as_slice()).unwrap())
        .collect()
}

/// How often each command was called since the last look.
async fn commands(server: &RedisServer) -> BTreeMap<String, u64> {
    let stats: String = server.cli(&["INFO", "commandstats"]).await.unwrap();
    let about: String = server.cli(&["INFO", "server"]).await.unwrap();
    server.cli::<()>(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let lines = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        // Of this look, and of each connection.
        let own = ["info", "config", "client"];
        let drains = about.contains("redis_version:6.") && name == "del";
        let is_counted = !own.iter().any(|own| name.starts_with(own)) && !drains;
        is_counted.then(|| (name.to_owned(), calls))
    });
    lines.collect()
}

fn counted(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let expected = expected.iter();
    expected
        .map(|(name, calls)| ((*name).to_owned(), *calls))
        .collect()
}

#[tokio::test]
async fn an_undivided_queue_costs_no_command_more() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    // Scripts are loaded, and the level is known to be used.
    send(&broker, 1).await;
    let held = claim(&broker, worker, 1).await;
    broker
        .settle(worker, &mail(), vec![done(&held[0])])
        .await
        .unwrap();
    commands(&server).await;

    send(&broker, 1).await;
    let plain = [
        ("evalsha", 1),
        ("hmget", 1),
        ("hsetnx", 1),
        ("rpush", 1),
        ("zadd", 1),
    ];
    assert_eq!(commands(&server).await, counted(&plain));
    let held = claim(&broker, worker, 2).await;
    let claims = [
        ("evalsha", 1),
        ("hlen", 1),
        ("hmget", 2),
        ("hset", 2),
        ("lpop", 1),
        ("time", 1),
    ];
    assert_eq!(commands(&server).await, counted(&claims));
    broker
        .settle(worker, &mail(), vec![done(&held[0])])
        .await
        .unwrap();
    let settles = [("evalsha", 1), ("exists", 1), ("hdel", 2), ("hmget", 1)];
    assert_eq!(commands(&server).await, counted(&settles));
    broker.renew(worker, &mail(), LEASE).await.unwrap();
    broker.recover(&mail(), secs(5)).await.unwrap();
    let trips = commands(&server).await;
    assert_eq!(
        trips.get("evalsha").or(trips.get("eval")),
        Some(&2),
        "{trips:?}"
    );
}

/// A claim of one never passes by the only task, wherever it is; and none comes twice.
#[tokio::test]
async fn each_partition_drains_whatever_a_claim_asks_for() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 8).await;
    let worker = worker(&broker).await;
    for max in [1, 3, 7, 8, 9, 100] {
        let sent: BTreeSet<TaskId> = send(&broker, 60).await.into_iter().collect();
        let mut claimed = BTreeSet::new();
        while claimed.len() < sent.len() {
            let batch = claim(&broker, worker, max).await;
            let expected = usize::from(max).min(sent.len() - claimed.len());
            assert_eq!(batch.len(), expected, "of {max}");
            claimed.extend(batch.iter().map(|delivery| delivery.id));
            let settled = batch.iter().map(done).collect();
            let settled = broker.settle(worker, &mail(), settled).await.unwrap();
            assert_eq!(settled.stale, []);
        }
        assert_eq!(claimed, sent, "of {max}");
        assert_eq!(claim(&broker, worker, max).await, []);
    }
}

/// Each partition has an equal share of what is to be kept, rounded up.
#[tokio::test]
async fn a_retention_is_shared_out_among_the_partitions() {
    const LETTERS: u64 = 40;
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    let worker = worker(&broker).await;
    for (kept, shares) in [(Some(8), 8), (Some(9), 12), (None, 12 + LETTERS)] {
        let retention = Retention {
            count: kept,
            ..Retention::default()
        };
        broker.retain(&mail(), retention).await.unwrap();
        let letters = (0..LETTERS).map(|n| {
            let mut task = envelope();
            task.id = of(4).id_in(u8::try_from(n % 4).unwrap(), task.id);
            task.encode().unwrap()
        });
        broker.enqueue(&mail(), letters.collect()).await.unwrap();
        let bury = |delivery: &Delivery| Settlement {
            verdict: Verdict::Bury(Failure::new(FailureKind::Error, "broken")),
            ..done(delivery)
        };
        let held = claim(&broker, worker, 100).await;
        let settled = held.iter().map(bury).collect();
        broker.settle(worker, &mail(), settled).await.unwrap();
        let summary = broker.dead_letters_summary(&mail()).await.unwrap();
        assert_eq!(summary.count, shares, "of {kept:?}");
        let counts = broker.counts(&mail()).await.unwrap();
        assert_eq!((counts.dead, counts.ready, counts.active), (shares, 0, 0));
    }
}

/// With work in every partition all the time, each is claimed from.
#[tokio::test]
async fn no_partition_starves_beside_full_ones() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 8).await;
    let worker = worker(&broker).await;
    send(&broker, 800).await;
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let held = claim(&broker, worker, 2).await;
        assert_eq!(held.len(), 2);
        for delivery in held {
            *seen.entry(of(8).of(delivery.id)).or_insert(0) += 1;
        }
    }
    assert_eq!(seen, (0..8).map(|number| (number, 10)).collect());
}

/// One handle that claims from several queues by turns, and looks for callbacks meanwhile.
#[tokio::test]
async fn no_partition_starves_where_queues_are_claimed_from_by_turns() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let queues = [mail(), "reports".parse().unwrap()];
    let worker = WorkerId::random();
    for queue in &queues {
        broker.partition(queue, of(2)).await.unwrap();
        broker.register(worker, queue, LEASE).await.unwrap();
        broker.enqueue(queue, encoded(100)).await.unwrap();
    }
    let mut seen = BTreeMap::new();
    for _ in 0..10 {
        for queue in &queues {
            let claimed = broker.claim(worker, queue, NonZeroU16::MIN).await.unwrap();
            let delivery = granted(claimed).deliveries.remove(0);
            *seen
                .entry((queue.clone(), of(2).of(delivery.id)))
                .or_insert(0) += 1;
            broker.owed(queue, at_most(9), secs(10)).await.unwrap();
        }
    }
    let even = queues
        .iter()
        .flat_map(|queue| [0, 1].map(|number| ((queue.clone(), number), 5)));
    assert_eq!(seen, even.collect());
}

#[tokio::test]
async fn a_ring_in_any_partition_ends_a_wait() {
    let server = RedisServer::start().await;
    let (broker, sender) = (connect(&server).await, connect(&server).await);
    divide(&broker, 4).await;
    for number in 0..4 {
        let wait = tokio::spawn({
            let broker = broker.clone();
            async move { broker.wait(&mail(), hours(1)).await }
        });
        let mut task = envelope();
        task.id = of(4).id_in(number, task.id);
        let sent = sender.enqueue(&mail(), vec![task.encode().unwrap()]).await;
        assert_eq!(sent.unwrap(), [Enqueued::New]);
        soon("wake-up", wait).await.unwrap().unwrap();
    }
}

/// Two rings at once are for two: the one that takes both hands one on.
#[tokio::test]
async fn no_ring_is_lost_where_one_waiter_hears_two() {
    let server = RedisServer::start().await;
    let (one, other) = (connect(&server).await, connect(&server).await);
    divide(&one, 2).await;
    other.partitions(&mail()).await.unwrap();
    for _ in 0..10 {
        let wait = |broker: &RedisBroker| {
            let broker = broker.clone();
            tokio::spawn(async move { broker.wait(&mail(), hours(1)).await })
        };
        let waits = [wait(&one), wait(&other)];
        let tasks = [0, 1].map(|number| {
            let mut task = envelope();
            task.id = of(2).id_in(number, task.id);
            task.encode().unwrap()
        });
        let sender = connect(&server).await;
        sender.enqueue(&mail(), tasks.to_vec()).await.unwrap();
        for wait in waits {
            soon("both wake-ups", wait).await.unwrap().unwrap();
        }
    }
}

async fn scheduled_all(broker: &RedisBroker, limit: usize) -> Vec<(u64, TaskId)> {
    let mut all = Vec::new();
    loop {
        let page = broker.scheduled(&mail(), all.len(), limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|task| (task.due.get(), task.id)));
    }
}

/// Also far into it, and where one partition has more than the others.
#[tokio::test]
async fn pages_of_a_partitioned_queue_are_in_one_order() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 8).await;
    let mut sent = HashSet::new();
    for round in 0..5_u64 {
        let tasks: Vec<Encoded> = (0..900_u64)
            .map(|number| {
                let mut task = envelope();
                if number % 3 == 0 {
                    task.id = of(8).id_in(5, task.id);
                }
                sent.insert(task.id);
                let later = secs(3600 + (number * 7919 + round * 31) % 500);
                task.start = Some(When::In(later));
                task.encode().unwrap()
            })
            .collect();
        broker.enqueue(&mail(), tasks).await.unwrap();
    }
    let all = scheduled_all(&broker, 1000).await;
    assert!(all.is_sorted());
    assert_eq!(all.iter().map(|(_, id)| *id).collect::<HashSet<_>>(), sent);
    assert_eq!(all.len(), sent.len());
    for (offset, limit) in [
        (0, 1),
        (999, 3),
        (1500, 10),
        (3003, 70),
        (4499, 5),
        (4500, 5),
    ] {
        let page = broker.scheduled(&mail(), offset, limit).await.unwrap();
        let page: Vec<_> = page.iter().map(|task| (task.due.get(), task.id)).collect();
        let end = all.len().min(offset + limit);
        assert_eq!(page, all[offset..end], "offset {offset}, limit {limit}");
    }
}

/// A key of the wrong type stands for any refusal of one partition.
#[tokio::test]
async fn a_partition_that_refuses_takes_no_other_with_it() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    let key = format!("{}:tasks", tag(2));
    server.cli::<()>(&["SET", &key, "broken"]).await.unwrap();
    let tasks = encoded(40);
    let ids: Vec<TaskId> = tasks.iter().map(Encoded::id).collect();
    let refused = broker.enqueue(&mail(), tasks).await.unwrap_err();
    let EnqueueError::InPart { answers, error, .. } = refused else {
        panic!("{refused:?}");
    };
    assert!(
        matches!(*error, EnqueueError::Misconfigured(_)),
        "{error:?}"
    );
    for (id, answer) in ids.iter().zip(answers) {
        let expected = (of(4).of(*id) != 2).then_some(Enqueued::New);
        assert_eq!(answer, expected, "{id}");
    }
    server.cli::<()>(&["DEL", &key]).await.unwrap();
    let (worker, count) = (worker(&broker).await, ids.len());
    let held = claim(&broker, worker, 100).await;
    let there = ids.iter().filter(|id| of(4).of(**id) != 2).count();
    assert!(there < count);
    assert_eq!(held.len(), there);
}

/// What was claimed elsewhere stays its own until the leases there end: nobody else gets it before.
#[tokio::test]
async fn an_identity_that_is_lost_in_one_partition_is_lost() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    let (lost, other) = (worker(&broker).await, worker(&broker).await);
    send(&broker, 40).await;
    let held = claim(&broker, lost, 100).await;
    assert_eq!(held.len(), 40);
    for key in ["identities", "suspects"] {
        let key = format!("{}:{key}", tag(2));
        server.cli::<()>(&["DEL", &key]).await.unwrap();
    }
    let renewed = broker.renew(lost, &mail(), LEASE).await.unwrap();
    assert_eq!(renewed, Renewal::Lost);
    assert_eq!(claim(&broker, other, 100).await, []);
    let retired = broker.retire(lost, &mail()).await.unwrap();
    assert!(!retired, "it holds tasks");
}

/// It would be looked for where its id says.
#[tokio::test]
async fn rubbish_in_a_partition_is_a_dead_letter_of_that_partition() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    divide(&broker, 4).await;
    let worker = worker(&broker).await;
    send(&broker, 40).await;
    for number in 0..4 {
        let key = format!("{}:ready:5", tag(number));
        server.cli::<()>(&["RPUSH", &key, "rubbish"]).await.unwrap();
    }
    let batch = granted(broker.claim(worker, &mail(), at_most(100)).await.unwrap());
    assert_eq!(batch.deliveries.len(), 40);
    let letters = broker.dead_letters(&mail(), 0, 9).await.unwrap();
    let partitions: Vec<u8> = letters.iter().map(|letter| of(4).of(letter.id)).collect();
    assert_eq!(partitions.iter().collect::<BTreeSet<_>>().len(), 4);
    for letter in letters {
        let cancelled = broker.cancel(&mail(), letter.id).await.unwrap();
        assert_eq!(cancelled, lovage_core::Cancelled::Removed);
    }
}
