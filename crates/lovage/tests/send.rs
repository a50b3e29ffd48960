//! Sending, on the broker inside this process.

use std::time::{Duration, SystemTime};

use lovage::prelude::*;
use lovage::testing::TestKit;
use lovage::{
    Cancelled, ConnectError, Millis, Place, SendError, TaskId, TraceContext, WaitError, When,
};

#[task(queue = "sums", priority = 2, expires = hours(1), timeout = secs(9), max_retries = 7)]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(ignore_result)]
async fn forget(name: String) -> String {
    name
}

#[task(ignore_result)]
async fn tick() {}

#[tokio::test]
async fn an_address_without_a_known_scheme_is_refused_with_the_known_ones() {
    for address in [
        "amqp://guest:secret@host",
        "guest:secret@host",
        "amqp://host?password=secret",
        "redis+sentinel://host/shop?sentinel_password=a@secret&b",
        "redis+sentinel://guest:secret?secret@host/shop",
        "localhost",
        "",
        "http://x",
        "memoryfoo",
    ] {
        let error = Client::connect(address).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Address { .. }),
            "{address}: {error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains("redis://") && text.contains("memory://"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn memory_brokers_of_one_name_share_their_data() {
    let one = Client::connect("memory://shared").await.unwrap();
    let other = Client::connect("memory://shared").await.unwrap();
    let elsewhere = Client::builder("memory://shared")
        .namespace("b")
        .connect()
        .await
        .unwrap();
    one.send(add(1, 2)).await.unwrap();
    assert_eq!(other.counts("sums").await.unwrap().ready, 1);
    assert_eq!(elsewhere.counts("sums").await.unwrap().ready, 0);
    let named = Client::builder("memory://shared").namespace("lovage");
    let named = named.connect().await.unwrap();
    assert_eq!(named.counts("sums").await.unwrap().ready, 1);
}

#[tokio::test]
async fn memory_brokers_without_a_name_are_apart() {
    let one = Client::connect("memory://").await.unwrap();
    let other = Client::connect("memory://").await.unwrap();
    one.send(add(1, 2)).await.unwrap();
    assert_eq!(other.counts("sums").await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_send_takes_where_and_when_from_the_task_and_leaves_how_to_the_worker() {
    let kit = TestKit::new();
    kit.client().send(add(1, 2)).await.unwrap();
    let envelope = kit.envelopes().remove(0);
    assert_eq!(envelope.queue.as_str(), "sums");
    assert_eq!(envelope.priority.get(), 2);
    assert_eq!(envelope.expires, Some(When::In(hours(1))));
    assert_eq!(envelope.result_ttl, Some(hours(24)));
    assert_eq!(envelope.sent_at, kit.now());
    assert_eq!((envelope.timeout, envelope.max_retries), (None, None));
}

#[tokio::test]
async fn a_send_can_set_every_option_for_itself() {
    let kit = TestKit::new();
    let id = TaskId::derived(b"order-7");
    let trace = TraceContext {
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        tracestate: String::new(),
    };
    let due = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    kit.client()
        .send(add(1, 2))
        .queue("urgent")
        .eta(due)
        .expires_at(Millis::from(due).plus(secs(1)))
        .priority(9)
        .id(id)
        .max_retries(1)
        .backoff(Backoff::constant(secs(3)))
        .timeout(secs(1))
        .hard_timeout(secs(2))
        .result_ttl(mins(1))
        .ack(Ack::Early)
        .header("tenant", "7")
        .trace_context(trace.clone())
        .await
        .unwrap();
    let envelope = kit.envelopes().remove(0);
    assert_eq!(envelope.id, id);
    assert_eq!(envelope.queue.as_str(), "urgent");
    assert_eq!(envelope.start, Some(When::At(due.into())));
    assert_eq!(
        envelope.expires,
        Some(When::At(Millis::from(due).plus(secs(1))))
    );
    assert_eq!(envelope.priority.get(), 9);
    assert_eq!(envelope.max_retries, Some(1));
    assert_eq!(envelope.backoff, Some(Backoff::constant(secs(3))));
    assert_eq!(envelope.timeout, Some(secs(1)));
    assert_eq!(envelope.hard_timeout, Some(secs(2)));
    assert_eq!(envelope.result_ttl, Some(mins(1)));
    assert_eq!(envelope.ack, Ack::Early);
    assert_eq!(envelope.headers["tenant"], "7");
    assert_eq!(envelope.trace, Some(trace));
}

#[tokio::test]
async fn a_child_belongs_to_the_tree_of_its_parent() {
    let kit = TestKit::new();
    let parent = TaskContext::for_test();
    kit.client()
        .send(add(1, 2))
        .child_of(&parent)
        .await
        .unwrap();
    let envelope = kit.envelopes().remove(0);
    assert_eq!(envelope.root, Some(parent.id()));
    assert_eq!(envelope.parent, Some(parent.id()));
}

#[tokio::test]
async fn the_same_id_sent_twice_is_one_task() {
    let kit = TestKit::new();
    let id = TaskId::random();
    let first = kit.client().send(add(1, 2)).id(id).await.unwrap();
    let second = kit.client().send(add(1, 2)).id(id).await.unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!(kit.sent::<add>().len(), 1);
    assert_eq!(kit.run_until_idle().await, 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is() {
    let client = Client::connect("memory://").await.unwrap();
    let name = client.send(add(1, 2)).queue("a{b}").await.unwrap_err();
    assert!(
        matches!(name, SendError::Invalid { task: "add", .. }),
        "{name:?}"
    );
    let custom = Backoff::custom(|_| secs(1));
    let custom = client.send(add(1, 2)).backoff(custom).await.unwrap_err();
    assert!(matches!(custom, SendError::Invalid { .. }), "{custom:?}");
    let large = client.send(forget("x".repeat(5 << 20))).await.unwrap_err();
    assert!(matches!(large, SendError::Encode(_)), "{large:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_one_of_many_concurrent_sends_is_one_task() {
    let client = Client::connect("memory://").await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let client = client.clone();
        callers.spawn(async move {
            for n in 0..200 {
                client.send(add(caller, n)).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    assert_eq!(client.counts("sums").await.unwrap().ready, 64 * 200);
}

#[tokio::test]
async fn a_full_queue_refuses_with_its_bound() {
    let client = Client::connect("memory://").await.unwrap();
    client.bound("sums", Some(2)).await.unwrap();
    client.send_all([add(1, 1), add(2, 2)]).await.unwrap();
    let error = client.send(add(3, 3)).await.unwrap_err();
    assert!(
        matches!(
            error,
            SendError::QueueFull {
                len: 2,
                bound: 2,
                ..
            }
        ),
        "{error:?}"
    );
    client.bound("sums", None).await.unwrap();
    client.send(add(3, 3)).await.unwrap();
}

#[tokio::test]
async fn a_bulk_send_answers_a_handle_an_item_in_their_order() {
    let kit = TestKit::new();
    let sums = kit
        .client()
        .send_all((0..2500).map(|n| add(n, n)))
        .await
        .unwrap();
    assert_eq!(kit.run_until_idle().await, 2500);
    for (n, sum) in (0..).zip(&sums) {
        assert_eq!(sum.wait(secs(1)).await.unwrap(), 2 * n);
    }
}

#[tokio::test]
async fn a_bulk_send_takes_sends_with_options() {
    let kit = TestKit::new();
    let client = kit.client();
    let sends = (0..20).map(|n| client.send(add(n, n)).queue(format!("q{}", n % 3)));
    let handles = client.send_all(sends).await.unwrap();
    assert_eq!(client.counts("q0").await.unwrap().ready, 7);
    assert_eq!(handles[4].queue().as_str(), "q1");
}

#[tokio::test]
async fn a_bulk_send_that_ends_early_tells_what_was_accepted() {
    let client = Client::builder("memory://")
        .deadline(ms(50))
        .connect()
        .await
        .unwrap();
    client.bound("sums", Some(1500)).await.unwrap();
    let error = client
        .send_all((0..3000).map(|n| add(n, n)))
        .await
        .unwrap_err();
    assert!(
        matches!(error.source, SendError::QueueFull { .. }),
        "{error:?}"
    );
    assert_eq!(error.accepted.len(), 1000);
    assert!(error.unknown.is_empty());
    assert!(
        error.to_string().starts_with("1000 tasks were accepted"),
        "{error}"
    );
    assert_eq!(client.counts("sums").await.unwrap().ready, 1000);
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_told_from_one_that_never_was() {
    let kit = TestKit::new();
    let forgotten = kit.client().send(forget("Ada")).await.unwrap();
    kit.run_due().await;
    assert!(matches!(
        forgotten.wait(secs(1)).await,
        Err(WaitError::NotKept)
    ));

    let never = kit
        .client()
        .handle::<add>("sums", TaskId::random())
        .unwrap();
    assert!(matches!(never.wait(secs(1)).await, Err(WaitError::Unknown)));
}

#[tokio::test]
async fn a_wait_that_is_there_learns_of_a_success_that_is_not_kept() {
    let kit = TestKit::new();
    let handle = kit.client().send(tick()).await.unwrap();
    let (ended, _) = tokio::join!(handle.wait(secs(10)), kit.run_due());
    ended.unwrap();
}

#[tokio::test]
async fn a_cancelled_task_does_not_run() {
    let kit = TestKit::new();
    let handle = kit
        .client()
        .send(add(1, 2))
        .countdown(secs(5))
        .await
        .unwrap();
    assert_eq!(handle.state().await.unwrap(), Place::Scheduled);
    assert_eq!(handle.cancel().await.unwrap(), Cancelled::Removed);
    assert_eq!(kit.run_until_idle().await, 0);
    assert!(matches!(
        handle.wait(secs(1)).await,
        Err(WaitError::Cancelled)
    ));
    assert_eq!(handle.cancel().await.unwrap(), Cancelled::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time() {
    let client = Client::connect("memory://").await.unwrap();
    let handle = client.send(add(1, 2)).await.unwrap();
    assert!(matches!(
        handle.wait(hours(1)).await,
        Err(WaitError::TimedOut)
    ));
}

#[tokio::test]
async fn a_result_of_another_shape_is_refused() {
    let kit = TestKit::new();
    let sum = kit.client().send(add(1, 2)).await.unwrap();
    kit.run_due().await;
    let other = kit.client().handle::<tick>("sums", sum.id()).unwrap();
    assert!(matches!(
        other.wait(secs(1)).await,
        Err(WaitError::Decode { .. })
    ));
}
