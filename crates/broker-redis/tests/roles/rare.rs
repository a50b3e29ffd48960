//! What the laws do not come by: verbs that several roles call, and what was broken by hand.

use std::num::NonZeroU16;

use bytes::Bytes;
use lovage_broker_redis::RedisBroker;
use lovage_core::{
    Agenda, AgendaShelf, Amendment, BeatId, BeatRole, Broker, Change, CheckMode, Checkup, Conflict,
    Control, Diagnosis, Encoded, Envelope, Inspect, LOSSES_KEPT_MAX, Lock, LockKey, Membership,
    Outgoing, Passing, Priority, QueueName, Results, ScheduleName, Schedules, Shelf, TaskId,
    TaskName, Until, When, WorkerId, mins, ms, secs,
};
use lovage_test_redis::RedisServer;

use crate::by_role::ByRole;

const LEASE: std::time::Duration = mins(10);
/// A task, and an id of nothing.
const OWN: &str = "a task to damage";
const ABSENT: &str = "an id of nothing";
const WORKER: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

pub(crate) async fn all(server: &RedisServer, broker: &ByRole, namespace: &str) {
    let q = |name: &str| format!("{{{namespace}:mail}}:{name}");
    let b = |name: &str| format!("{{{namespace}}}:{name}");
    as_worker(server, &broker.worker, &q("bell")).await;
    as_beat(server, broker, &b).await;
    as_operator(broker).await;
    for broker in [
        &broker.producer,
        &broker.worker,
        &broker.beat,
        &broker.operator,
    ] {
        give_up(broker).await;
    }
    repair(server, broker, &q, &b).await;
}

fn mail() -> QueueName {
    QueueName::parse("mail").unwrap()
}

fn some(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn envelope() -> Envelope {
    let task = TaskName::parse("send_receipt").unwrap();
    Envelope::new(TaskId::random(), task, mail(), Bytes::from_static(b"\x80"))
}

pub(crate) fn encoded() -> Encoded {
    envelope().encode().unwrap()
}

async fn send(broker: &RedisBroker) -> TaskId {
    let task = encoded();
    let id = task.id();
    broker.enqueue(&mail(), vec![task]).await.unwrap();
    id
}

/// Sends callbacks, and listens again on a connection that somebody listened on.
async fn as_worker(server: &RedisServer, worker: &RedisBroker, bell: &str) {
    let call = async |count| {
        let calls = std::iter::repeat_with(|| encoded().remembered_for(secs(60)));
        let calls = worker.enqueue(&mail(), calls.take(count).collect()).await;
        calls.unwrap();
    };
    call(1).await;
    call(2).await;
    server.cli::<()>(&["DEL", bell]).await.unwrap();
    server.cli::<()>(&["SET", bell, "no bell"]).await.unwrap();
    worker.wait(&mail(), secs(30)).await.unwrap_err();
    server.cli::<()>(&["DEL", bell]).await.unwrap();
    call(1).await;
    worker.wait(&mail(), secs(30)).await.unwrap();
}

/// Reads the schedules that there are and where tasks are; forwards what is short, and takes the place of others.
async fn as_beat(server: &RedisServer, broker: &ByRole, b: &impl Fn(&str) -> String) {
    let beat = &broker.beat;
    let id = BeatId::random();
    beat.lead(id, secs(30), some(10)).await.unwrap();
    let name = ScheduleName::parse("report").unwrap();
    let store = |version: Option<u64>| Amendment {
        name: name.clone(),
        expected: version,
        change: Change::Store {
            record: Bytes::from_static(b"record"),
            wake: None,
        },
        sends: Vec::new(),
        firings: vec![Bytes::from_static(b"fired")],
    };
    let bell = b("bell");
    server.cli::<()>(&["SET", &bell, "no bell"]).await.unwrap();
    let turn = async || beat.await_turn(BeatRole::Leader, secs(30)).await;
    turn().await.unwrap_err();
    server.cli::<()>(&["DEL", &bell]).await.unwrap();
    beat.amend(None, vec![store(None)]).await.unwrap();
    turn().await.unwrap();
    let found = beat.schedules(None, 10).await.unwrap().found;
    let remove = Amendment {
        change: Change::Remove,
        firings: Vec::new(),
        ..store(Some(found[0].version))
    };
    beat.amend(None, vec![remove]).await.unwrap();

    let held = send(&broker.producer).await;
    let worker = WorkerId::random();
    broker
        .worker
        .register(worker, &mail(), LEASE)
        .await
        .unwrap();
    broker
        .worker
        .claim(worker, &mail(), some(100))
        .await
        .unwrap();
    beat.state(&mail(), held).await.unwrap();

    let lock = Lock {
        key: LockKey::from_bytes([7; 16]),
        until: Until::Done,
        conflict: Conflict::Replace,
        ttl: None,
    };
    let mut number = 1 << 52;
    let mut forward = async |bytes: Bytes, id: TaskId| {
        number += 1;
        beat.forward(&mail(), vec![Outgoing { number, id, bytes }])
            .await
            .unwrap();
    };
    for level in [5, 9] {
        let unique = Envelope {
            unique: Some(lock),
            priority: Priority::new(level),
            ..envelope()
        };
        let id = unique.id;
        forward(unique.encode().unwrap().bytes().clone(), id).await;
    }
    forward(Bytes::from_static(b"short"), TaskId::random()).await;

    server
        .cli::<()>(&["RPUSH", &b("outbox:mail"), "rubbish"])
        .await
        .unwrap();
    server
        .cli::<()>(&["SADD", &b("outboxes"), "mail"])
        .await
        .unwrap();
    beat.outbox(&mail(), some(10)).await.unwrap();
}

/// What a producer does with its own tasks.
async fn as_operator(broker: &ByRole) {
    let operator = &broker.operator;
    let ready = send(&broker.producer).await;
    broker
        .producer
        .outcome(&mail(), ready, ms(0))
        .await
        .unwrap();
    operator.state(&mail(), ready).await.unwrap();
    operator.cancel(&mail(), ready).await.unwrap();
    let held = send(&broker.producer).await;
    let worker = WorkerId::random();
    broker
        .worker
        .register(worker, &mail(), LEASE)
        .await
        .unwrap();
    broker
        .worker
        .claim(worker, &mail(), some(100))
        .await
        .unwrap();
    operator.state(&mail(), held).await.unwrap();
    operator.cancel(&mail(), held).await.unwrap();
    operator
        .reschedule(&mail(), held, When::In(secs(1)))
        .await
        .unwrap();
}

/// Leaves a call unanswered, after which the connection is asked whether it lives.
async fn give_up(broker: &RedisBroker) {
    let queue = mail();
    tokio::select! {
        biased;
        _ = broker.state(&queue, TaskId::random()) => {}
        () = std::future::ready(()) => {}
    }
    tokio::task::yield_now().await;
    broker.state(&queue, TaskId::random()).await.unwrap();
}

/// A command, a key, and what is written there.
type Damage = (&'static str, String, &'static [&'static str]);

fn damages(q: &impl Fn(&str) -> String, b: &impl Fn(&str) -> String) -> Vec<Damage> {
    let active = format!("active:{WORKER}");
    let [result, once, unique] =
        ["result", "once", "unique"].map(|begin| format!("{begin}:{}", "0c".repeat(16)));
    vec![
        ("RPUSH", q("ready:5"), &[OWN]),
        ("RPUSH", q("ready:7"), &[ABSENT]),
        ("ZADD", q("scheduled"), &["1", ABSENT]),
        ("ZADD", q("dead"), &["1", ABSENT]),
        ("HSET", q("facts"), &[ABSENT, "1:0:0"]),
        ("HSET", q("reasons"), &[OWN, "why"]),
        ("HSET", q("waiting"), &[ABSENT, WORKER]),
        ("SADD", q("cancels"), &[OWN]),
        ("HSET", q("ghosts"), &["an id of nothing5", "2"]),
        ("HSET", q("ghosts"), &["a task to damage6", "0"]),
        ("HSET", q(&active), &[ABSENT, "1:1"]),
        (
            "HSET",
            q("meta"),
            &["lease:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0c", "1"],
        ),
        ("HSET", q("meta"), &["dead_bytes", "17"]),
        ("HSET", q("meta"), &["used", ""]),
        ("SET", q(&result), &["x"]),
        ("SET", q(&once), &["an id of nothing17"]),
        ("SET", q(&unique), &["an id of nothingd:"]),
        ("HSET", q("locks"), &[OWN, "rubbish"]),
        ("HSET", q("locks"), &[ABSENT, "rubbish"]),
        ("HSET", q("reports"), &[ABSENT, "x"]),
        ("HSET", q("suspects"), &[ABSENT, "x"]),
        ("RPUSH", q("losses"), &["x"; LOSSES_KEPT_MAX + 1]),
        ("ZADD", q("callbacks"), &["9000000000000000", ABSENT]),
        ("HSET", b("records"), &["rest", "x"]),
        ("HSET", b("versions"), &["unlisted", "7"]),
        ("SADD", b("outboxes"), &["empty"]),
        ("RPUSH", b("outbox:unlisted"), &["x"]),
        ("ZADD", q("callbacks"), &["1", ABSENT]),
    ]
}

/// Breaks one thing after the other, and lets all repairs be made each time.
async fn repair(
    server: &RedisServer,
    broker: &ByRole,
    q: &impl Fn(&str) -> String,
    b: &impl Fn(&str) -> String,
) {
    let operator = &broker.operator;
    let own = TaskId::from_bytes(*b"a task to damage");
    let absent = TaskId::from_bytes(*b"an id of nothing");
    let stored = Envelope {
        id: own,
        ..envelope()
    };
    broker
        .producer
        .enqueue(&mail(), vec![stored.encode().unwrap()])
        .await
        .unwrap();
    let lost: WorkerId = WORKER.parse().unwrap();
    for (command, key, words) in damages(q, b) {
        let words: Vec<&str> = [command, &key]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        server.cli::<()>(&words).await.unwrap();
        operator
            .orphans(&mail(), &[lost], CheckMode::Repair)
            .await
            .unwrap();
        for census in operator
            .census(&mail(), &[own, absent], &[lost], true)
            .await
            .unwrap()
        {
            let Diagnosis::Faulty(wrong) = census.diagnose() else {
                continue;
            };
            let repairs: Vec<_> = wrong.into_iter().map(|(_, repair)| repair).collect();
            assert!(
                operator
                    .repair(&mail(), &census, &[lost], &repairs)
                    .await
                    .unwrap()
            );
        }
        operator
            .books(&mail(), &[lost], CheckMode::Repair)
            .await
            .unwrap();
        let id = TaskId::from_bytes([0x0c; 16]);
        for of in [Passing::Results, Passing::Sends] {
            operator
                .lasting(&mail(), of, &[id], CheckMode::Repair)
                .await
                .unwrap();
        }
        let key = LockKey::from_bytes([0x0c; 16]);
        operator
            .locks(&mail(), &[key], &[own, absent], CheckMode::Repair)
            .await
            .unwrap();
        let names = ["rest", "unlisted"].map(|name| Bytes::from_static(name.as_bytes()));
        operator
            .agenda(Agenda::Schedules, &names, CheckMode::Repair)
            .await
            .unwrap();
        let queues = ["empty", "unlisted"].map(|name| Bytes::from_static(name.as_bytes()));
        operator
            .agenda(Agenda::Outboxes, &queues, CheckMode::Repair)
            .await
            .unwrap();
    }
    look(operator, lost).await;
}

async fn look(operator: &RedisBroker, lost: WorkerId) {
    for shelf in [
        Shelf::Tasks,
        Shelf::Ready(5),
        Shelf::Scheduled,
        Shelf::Dead,
        Shelf::Active(lost),
        Shelf::Facts,
        Shelf::Reasons,
        Shelf::Waiting,
        Shelf::Cancels,
        Shelf::Ghosts,
        Shelf::Locks,
        Shelf::Callbacks,
    ] {
        operator.shelf(&mail(), shelf, 0).await.unwrap();
    }
    for shelf in [
        AgendaShelf::Versions,
        AgendaShelf::Records,
        AgendaShelf::Wakes,
        AgendaShelf::Names,
        AgendaShelf::Outboxes,
    ] {
        operator.agenda_shelf(shelf, 0).await.unwrap();
    }
    operator.servers().await.unwrap();
}
