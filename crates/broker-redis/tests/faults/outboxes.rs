//! What becomes of schedules and outgoing tasks where somebody has changed keys by hand, or lost some, and of large
//! ones.

use bytes::Bytes;
use lovage_broker_redis::RedisBroker;
use lovage_core::{
    Amended, Amendment, BeatId, Broker, Change, CheckMode, Checkup, Encoded, FailureKind,
    Forwarded, Inspect, Lead, Millis, Outgoing, Place, ScheduleName, Schedules, TaskId, Tick, secs,
};
use lovage_test_redis::RedisServer;

use crate::common::{at_most, claim, connect, done, encoded, envelope, mail, soon, worker};

fn name(text: &str) -> ScheduleName {
    ScheduleName::parse(text).unwrap()
}

fn storing(text: &str, record: Bytes, sends: Vec<Encoded>) -> Amendment {
    Amendment {
        name: name(text),
        expected: None,
        change: Change::Store {
            record,
            wake: Some(Millis::new(1)),
        },
        sends: sends.into_iter().map(|task| (mail(), task)).collect(),
        firings: Vec::new(),
    }
}

async fn store(broker: &RedisBroker, text: &str, record: Bytes, sends: Vec<Encoded>) -> u64 {
    let amendments = vec![storing(text, record, sends)];
    match broker.amend(None, amendments).await.unwrap()[0] {
        Amended::Done(version) => version,
        ref refused => panic!("{refused:?}"),
    }
}

async fn hold(broker: &RedisBroker) -> Tick {
    let beat = BeatId::from_bytes([7; 16]);
    match broker.lead(beat, secs(60), at_most(100)).await.unwrap() {
        Lead::Held(tick) => tick,
        Lead::Standby(leader) => panic!("{leader:?} leads"),
    }
}

async fn outbox(broker: &RedisBroker) -> Vec<Outgoing> {
    broker.outbox(&mail(), at_most(1000)).await.unwrap()
}

#[tokio::test]
async fn rubbish_in_an_outbox_holds_nothing_up() {
    const OUTBOX: &str = "{lovage}:outbox:mail";
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let tasks = encoded(2);
    let ids: Vec<TaskId> = tasks.iter().map(Encoded::id).collect();
    store(&broker, "report", Bytes::new(), tasks).await;
    for command in [["LPUSH", OUTBOX, "x"], ["RPUSH", OUTBOX, ""]] {
        server.cli::<()>(&command).await.unwrap();
    }
    let waiting = outbox(&broker).await;
    assert_eq!(waiting.iter().map(|task| task.id).collect::<Vec<_>>(), ids);
    broker.forward(&mail(), waiting.clone()).await.unwrap();
    assert!(!broker.forwarded(&mail(), waiting[1].number).await.unwrap());
    // Nothing but rubbish is nothing.
    server
        .cli::<()>(&["RPUSH", OUTBOX, "rubbish"])
        .await
        .unwrap();
    server
        .cli::<()>(&["SADD", "{lovage}:outboxes", "mail"])
        .await
        .unwrap();
    assert_eq!(outbox(&broker).await, []);
    assert_eq!(hold(&broker).await.outboxes, []);
}

/// The text of somebody who took an outbox for a list of texts. Read as a number it is above all that were ever given:
/// a queue that had seen it would take no task any more.
#[tokio::test]
async fn rubbish_that_could_have_a_number_takes_no_tasks_with_it() {
    const OUTBOX: &str = "{lovage}:outbox:mail";
    const TEXT: &str = "a text that is longer than the head of an entry";
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    for (round, command) in ["LPUSH", "RPUSH"].into_iter().enumerate() {
        let task = encoded(1);
        let id = task[0].id();
        store(&broker, &format!("of-{round}"), Bytes::new(), task).await;
        // Beyond the last number given, if not beyond all numbers.
        let number: u64 = server
            .cli(&["HGET", "{lovage}:meta", "number"])
            .await
            .unwrap();
        let mut next = (number + 1_000_000).to_be_bytes().to_vec();
        next.resize(40, b'x');
        server.cli::<()>(&[command, OUTBOX, TEXT]).await.unwrap();
        let push = [command.as_bytes(), OUTBOX.as_bytes(), &next];
        server.cli::<()>(&push).await.unwrap();

        let waiting = outbox(&broker).await;
        assert_eq!(waiting.iter().map(|task| task.id).collect::<Vec<_>>(), [id]);
        let forwarded = broker.forward(&mail(), waiting.clone()).await.unwrap();
        assert_eq!((forwarded.stored, forwarded.known), (1, 0), "{command}");
        assert!(!broker.forwarded(&mail(), waiting[0].number).await.unwrap());
    }
}

/// A forwarder takes out what it has brought, up to the last number of its page: were that not the highest one,
/// nothing would be taken out, and it would bring the same page for ever.
#[tokio::test]
async fn numbers_out_of_order_hold_nothing_up() {
    const OUTBOX: &str = "{lovage}:outbox:mail";
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let tasks = encoded(2);
    let ids: Vec<TaskId> = tasks.iter().map(Encoded::id).collect();
    store(&broker, "report", Bytes::new(), tasks).await;
    let push = [&b"RPUSH"[..], OUTBOX.as_bytes(), &[0; 40]];
    server.cli::<()>(&push).await.unwrap();
    let mut pages = Vec::new();
    loop {
        let waiting = outbox(&broker).await;
        let Some(last) = waiting.last() else { break };
        pages.push(waiting.len());
        assert!(pages.len() < 9, "{pages:?}");
        broker.forward(&mail(), waiting.clone()).await.unwrap();
        broker.forwarded(&mail(), last.number).await.unwrap();
    }
    let worker = worker(&broker).await;
    let held = claim(&broker, worker, 10).await;
    assert_eq!(held.iter().map(|task| task.id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn an_envelope_too_short_to_be_one_is_kept_as_a_dead_letter_and_holds_nothing_up() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let good = envelope().encode().unwrap();
    let short = TaskId::random();
    let outgoing = vec![
        Outgoing {
            number: 1,
            id: short,
            bytes: Bytes::from_static(b"short"),
        },
        Outgoing {
            number: 2,
            id: good.id(),
            bytes: good.bytes().clone(),
        },
    ];
    let forwarded = broker.forward(&mail(), outgoing.clone()).await.unwrap();
    let all = Forwarded {
        stored: 2,
        known: 0,
    };
    assert_eq!(forwarded, all);
    let letters = broker.dead_letters(&mail(), 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].id, &letters[0].bytes[..]),
        (short, &b"short"[..])
    );
    assert_eq!(letters[0].failure.kind, FailureKind::Malformed);
    let books = broker.books(&mail(), &[], CheckMode::Look).await.unwrap();
    assert_eq!(Some(books.dead_bytes_said), books.dead_bytes);
    assert_eq!(claim(&broker, worker, 10).await[0].id, good.id());
    let again = broker.forward(&mail(), outgoing).await.unwrap();
    assert_eq!((again.stored, again.known), (0, 2));
}

#[tokio::test]
async fn an_id_that_comes_twice_by_two_numbers_is_one_task_while_it_lives() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let task = envelope().encode().unwrap();
    let numbered = |number| Outgoing {
        number,
        id: task.id(),
        bytes: task.bytes().clone(),
    };
    let forward = async |numbers: &[u64]| {
        let outgoing = numbers.iter().copied().map(numbered).collect();
        let forwarded = broker.forward(&mail(), outgoing).await.unwrap();
        (forwarded.stored, forwarded.known)
    };
    assert_eq!(forward(&[1, 2]).await, (1, 1));
    assert_eq!(forward(&[3]).await, (0, 1));
    let held = claim(&broker, worker, 10).await;
    assert_eq!(held.len(), 1);
    let verdicts = vec![done(&held[0])];
    broker.settle(worker, &mail(), verdicts).await.unwrap();
    // The first has been seen, the second is another one.
    assert_eq!(forward(&[3, 4]).await, (1, 1));
    assert_eq!(
        broker.state(&mail(), task.id()).await.unwrap(),
        Place::Ready
    );
}

#[tokio::test]
async fn lost_counters_give_no_number_twice() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let mut numbers = Vec::new();
    for round in 0..3 {
        let epoch = hold(&broker).await.epoch;
        let version = store(
            &broker,
            &format!("of-round-{round}"),
            Bytes::new(),
            encoded(1),
        )
        .await;
        let waiting = outbox(&broker).await;
        let forwarded = broker.forward(&mail(), waiting.clone()).await.unwrap();
        assert_eq!((forwarded.stored, forwarded.known), (1, 0), "round {round}");
        broker.forwarded(&mail(), waiting[0].number).await.unwrap();
        numbers.extend([epoch, waiting[0].number, version]);
        server.cli::<()>(&["DEL", "{lovage}:meta"]).await.unwrap();
        let deposed = broker
            .amend(Some(epoch), vec![storing("late", Bytes::new(), Vec::new())])
            .await
            .unwrap();
        assert_eq!(deposed, [Amended::Deposed]);
        // Numbers have the millisecond in them: no server is lost and back within one.
        let lost_at = clock_ms(&server).await;
        while clock_ms(&server).await == lost_at {}
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), 9, "{numbers:?}");
}

async fn clock_ms(server: &RedisServer) -> u64 {
    let (seconds, micros): (u64, u64) = server.cli(&["TIME"]).await.unwrap();
    seconds * 1000 + micros / 1000
}

#[tokio::test]
async fn names_and_wakes_that_stand_for_nothing_are_cleaned_up() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    for text in ["a", "b", "c"] {
        store(&broker, text, Bytes::from_static(b"record"), Vec::new()).await;
    }
    for gone in ["a", "b"] {
        server
            .cli::<()>(&["HDEL", "{lovage}:versions", gone])
            .await
            .unwrap();
    }
    let page = broker.schedules(None, 1).await.unwrap().found;
    assert_eq!(page[0].name, name("c"));
    assert_eq!(broker.schedule(&name("a")).await.unwrap().found, None);
    let due = hold(&broker).await.due;
    assert_eq!((due.len(), &due[0].name), (1, &name("c")));
    assert_eq!(hold(&broker).await.next_wake, None);
    for key in ["{lovage}:names", "{lovage}:wakes"] {
        assert_eq!(server.cli::<u64>(&["ZCARD", key]).await.unwrap(), 1);
    }
    // What has lost its record only is shown, so that somebody removes it.
    server
        .cli::<()>(&["HDEL", "{lovage}:records", "c"])
        .await
        .unwrap();
    assert_eq!(hold(&broker).await.due[0].record, Bytes::new());
}

/// Each is looked at, and none ends the paging or is asked for again and again.
#[tokio::test]
async fn names_that_are_none_and_versions_that_are_no_numbers_end_no_paging() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    for text in ["a", "z"] {
        store(&broker, text, Bytes::new(), Vec::new()).await;
    }
    for (text, version) in [("no name", "5"), ("x", "no number"), ("y", "")] {
        for command in [
            ["HSET", "{lovage}:versions", text, version],
            ["ZADD", "{lovage}:names", "0", text],
        ] {
            server.cli::<()>(&command).await.unwrap();
        }
    }
    let after = name("a");
    let page = soon("page", broker.schedules(Some(&after), 1)).await;
    let found = page.unwrap().found;
    assert_eq!(
        found.iter().map(|s| &s.name).collect::<Vec<_>>(),
        [&name("z")]
    );
    let page = soon("page", broker.schedules(Some(&name("z")), 1)).await;
    assert_eq!(page.unwrap().found, []);
}

#[tokio::test]
async fn pages_of_large_records_and_tasks_are_short_and_the_next_goes_on() {
    const LARGE: usize = 3 * 1024 * 1024;
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let mut large = envelope();
    large.args = Bytes::from(rmp_bin(LARGE));
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d", "e", "f"] {
        large.id = TaskId::random();
        ids.push(large.id);
        let record = Bytes::from(vec![0; LARGE]);
        store(&broker, text, record, vec![large.encode().unwrap()]).await;
    }
    let tick = hold(&broker).await;
    assert_eq!((tick.due.len(), tick.next_wake), (2, Some(secs(0))));
    let mut names = Vec::new();
    loop {
        let page = broker.schedules(names.last(), 1000).await.unwrap().found;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2, "{}", page.len());
        names.extend(page.into_iter().map(|schedule| schedule.name));
    }
    assert_eq!(names.len(), 6);
    let mut forwarded = Vec::new();
    loop {
        let waiting = outbox(&broker).await;
        assert!((1..=2).contains(&waiting.len()), "{}", waiting.len());
        let up_to = waiting[waiting.len() - 1].number;
        forwarded.extend(waiting.iter().map(|task| task.id));
        broker.forward(&mail(), waiting).await.unwrap();
        if !broker.forwarded(&mail(), up_to).await.unwrap() {
            break;
        }
    }
    assert_eq!(forwarded, ids);
}

/// One MessagePack value of about this size.
fn rmp_bin(size: usize) -> Vec<u8> {
    let length = u32::try_from(size).unwrap().to_be_bytes();
    let mut value = vec![0xc6];
    value.extend(length);
    value.resize(size + 5, 0);
    value
}
