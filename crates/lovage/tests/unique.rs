//! Unique tasks and idempotent sends, as a producer meets them.

use lovage::prelude::*;
use lovage::testing::TestKit;
use lovage::{Cancelled, Handle, SendError, TaskId};

#[task(queue = "shops", unique = Unique::args())]
async fn refresh(shop: u64) -> u64 {
    shop
}

#[task(unique = Unique::by(|message: &index| (message.account, message.kind.clone())).debounce(secs(10)))]
async fn index(account: u64, kind: String, text: String) -> String {
    format!("{account}/{kind}: {text}")
}

#[task(unique = Unique::by(|message: &resize| message.image).until(Until::Start).replace())]
async fn resize(image: u64, width: u32) -> (u64, u32) {
    (image, width)
}

#[task]
async fn plain(n: u64) -> u64 {
    n
}

fn id_of<T>(handle: &Handle<T>) -> (TaskId, bool) {
    (handle.id(), handle.is_new())
}

#[tokio::test]
async fn a_second_send_of_a_unique_task_is_the_first_one() {
    let kit = TestKit::new();
    let client = kit.client();
    let first = client.send(refresh(7)).await.unwrap();
    let second = client.send(refresh(7)).await.unwrap();
    let other = client.send(refresh(8)).await.unwrap();
    assert!(first.is_new() && other.is_new());
    assert_eq!(id_of(&second), (first.id(), false));
    assert_eq!(kit.run_ready().await, 2);
    assert_eq!(second.wait(secs(1)).await.unwrap(), 7);
    assert!(client.send(refresh(7)).await.unwrap().is_new());
}

#[tokio::test]
async fn a_send_can_be_unique_or_not_whatever_its_task_says() {
    let kit = TestKit::new();
    let client = kit.client();
    client.send(refresh(7)).await.unwrap();
    let beside = client.send(refresh(7)).not_unique().await.unwrap();
    assert!(beside.is_new());
    let by_parity = || Unique::by(|message: &plain| message.n % 2);
    let even = client.send(plain(2)).unique(by_parity()).await.unwrap();
    let other = client.send(plain(4)).unique(by_parity()).await.unwrap();
    let odd = client.send(plain(5)).unique(by_parity()).await.unwrap();
    assert_eq!(id_of(&other), (even.id(), false));
    assert!(odd.is_new());
    assert!(client.send(plain(2)).await.unwrap().is_new());
}

#[tokio::test]
async fn a_debounced_task_runs_once_with_the_newest_arguments() {
    let kit = TestKit::new();
    let client = kit.client();
    let first = client.send(index(1, "mail", "a")).await.unwrap();
    kit.advance(secs(9));
    let second = client.send(index(1, "mail", "b")).await.unwrap();
    let other = client.send(index(1, "chat", "c")).await.unwrap();
    assert_eq!(id_of(&second), (first.id(), false));
    assert!(other.is_new());
    kit.advance(secs(9));
    assert_eq!(kit.run_due().await, 0);
    kit.advance(secs(1));
    assert_eq!(kit.run_due().await, 2);
    assert_eq!(first.wait(secs(1)).await.unwrap(), "1/mail: b");
}

#[tokio::test]
async fn a_throttled_send_is_answered_with_the_one_that_ran() {
    let kit = TestKit::new();
    let client = kit.client();
    let throttled = || {
        client
            .send(plain(1))
            .unique(Unique::args().throttle(mins(1)))
    };
    let first = throttled().await.unwrap();
    kit.run_ready().await;
    let second = throttled().await.unwrap();
    assert_eq!(id_of(&second), (first.id(), false));
    assert_eq!(second.wait(secs(1)).await.unwrap(), 1);
    kit.advance(mins(1));
    assert!(throttled().await.unwrap().is_new());
}

#[tokio::test]
async fn a_bulk_send_answers_each_item_with_the_task_it_is() {
    let kit = TestKit::new();
    let items = [(1, 10), (2, 20), (1, 30), (3, 40), (1, 50)];
    let messages = items.map(|(image, width)| resize(image, width));
    let handles = kit.client().send_all(messages).await.unwrap();
    let new: Vec<bool> = handles.iter().map(Handle::is_new).collect();
    assert_eq!(new, [true, true, false, true, false]);
    assert_eq!(handles[2].id(), handles[0].id());
    assert_eq!(handles[4].id(), handles[0].id());
    assert_eq!(kit.run_ready().await, 3);
    assert_eq!(handles[2].wait(secs(1)).await.unwrap(), (1, 50));
}

#[tokio::test]
async fn ids_of_one_key_have_one_end() {
    let kit = TestKit::new();
    let client = kit.client();
    let end = |id: TaskId| id.as_bytes()[12..].to_vec();
    let first = client.send(refresh(7)).await.unwrap();
    kit.run_ready().await;
    let second = client.send(refresh(7)).idempotency_key("x").await.unwrap();
    let other = client.send(refresh(8)).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(end(first.id()), end(second.id()));
    assert_ne!(end(first.id()), end(other.id()));
}

#[tokio::test]
async fn sends_under_one_idempotency_key_are_one_task_for_their_span() {
    let kit = TestKit::new();
    let client = kit.client();
    let send = |key: &str| client.send(plain(1)).idempotency_key(key);
    let first = send("order-17").await.unwrap();
    assert!(first.is_new());
    kit.run_ready().await;
    let again = send("order-17").await.unwrap();
    assert_eq!(id_of(&again), (first.id(), false));
    assert_eq!(again.wait(secs(1)).await.unwrap(), 1);
    assert!(send("order-18").await.unwrap().is_new());
    // The key is that of its task and queue.
    let elsewhere = send("order-17").queue("other").await.unwrap();
    let of_another = client.send(refresh(1)).idempotency_key("order-17");
    assert!(elsewhere.is_new() && of_another.await.unwrap().is_new());
    assert_eq!(kit.run_ready().await, 3);

    kit.advance(hours(24));
    assert!(send("order-17").await.unwrap().is_new());
    let short = || send("order-19").idempotency_ttl(secs(1));
    short().await.unwrap();
    kit.run_ready().await;
    kit.advance(secs(1));
    assert!(short().await.unwrap().is_new());
}

#[tokio::test]
async fn sends_of_a_unique_task_under_one_idempotency_key_are_one_task() {
    let kit = TestKit::new();
    let send = |shop| kit.client().send(refresh(shop)).idempotency_key("order-17");
    let first = send(7).await.unwrap();
    assert_eq!(kit.run_ready().await, 1);
    for again in [send(7), send(8), send(8).not_unique()] {
        assert_eq!(id_of(&again.await.unwrap()), (first.id(), false));
    }
    assert_eq!(kit.run_ready().await, 0);
}

#[tokio::test]
async fn a_cancelled_task_is_not_sent_again_by_its_key() {
    let kit = TestKit::new();
    let send = || kit.client().send(plain(1)).idempotency_key("order-17");
    let first = send().await.unwrap();
    assert_eq!(first.cancel().await.unwrap(), Cancelled::Removed);
    assert_eq!(id_of(&send().await.unwrap()), (first.id(), false));
    assert_eq!(kit.run_ready().await, 0);
}

#[tokio::test]
async fn an_idempotency_span_counts_on_either_side_of_its_key() {
    let kit = TestKit::new();
    let send = || {
        let span_first = kit.client().send(plain(1)).idempotency_ttl(hours(720));
        span_first.idempotency_key("order-17")
    };
    assert!(send().await.unwrap().is_new());
    kit.run_ready().await;
    kit.advance(hours(719));
    assert!(!send().await.unwrap().is_new());
    kit.advance(hours(1));
    assert!(send().await.unwrap().is_new());
}

#[tokio::test]
async fn what_would_make_all_sends_one_or_none_is_refused() {
    let kit = TestKit::new();
    let send = || kit.client().send(plain(1));
    let unique = || Unique::args();
    for (send, part) in [
        (
            send().idempotency_key(""),
            "has 0 bytes, it must be 1 to 1024",
        ),
        (send().idempotency_key("k".repeat(1025)), "has 1025 bytes"),
        (
            send().idempotency_key("k").idempotency_ttl(secs(0)),
            "idempotency_ttl is 0ns, it must be 1ms or longer",
        ),
        (send().idempotency_ttl(hours(1)), "add .idempotency_key"),
        (
            send().unique(unique().throttle(secs(0))),
            "`throttle` of a unique task is 0ns",
        ),
        (
            send().unique(unique().ttl(secs(0))),
            "`ttl` of a unique task is 0ns",
        ),
        (
            send().unique(unique().debounce(secs(0))),
            "`debounce` of a unique task is 0ns",
        ),
        (
            send().unique(unique().wait_at_most(secs(1))),
            "add that, or take it away",
        ),
    ] {
        let error = send.await.unwrap_err();
        assert!(matches!(error, SendError::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(send().idempotency_key("k".repeat(1024)).await.is_ok());
    assert_eq!(kit.run_ready().await, 1);
}

#[tokio::test]
async fn what_a_unique_task_says_counts_in_whatever_order_it_is_said() {
    let kit = TestKit::new();
    for (n, unique) in [
        Unique::args().replace().throttle(mins(1)),
        Unique::args().throttle(mins(1)).replace(),
    ]
    .into_iter()
    .enumerate()
    {
        let send = || kit.client().send(plain(n as u64)).unique(unique.clone());
        let first = send().countdown(hours(1)).await.unwrap();
        let second = send().await.unwrap();
        assert_eq!(id_of(&second), (first.id(), false));
        assert_eq!(kit.run_ready().await, 1, "the second took its place");
        assert!(!send().await.unwrap().is_new(), "one a minute");
    }
    let lasting = Unique::args().until(Until::Done).debounce(secs(1));
    let send = || kit.client().send(plain(9)).unique(lasting.clone());
    let first = Unique::args().wait_at_most(secs(3)).debounce(secs(2));
    assert!(kit.client().send(plain(8)).unique(first).await.is_ok());
    assert!(send().await.unwrap().is_new());
}

#[tokio::test]
async fn a_send_has_an_id_or_an_idempotency_key() {
    let kit = TestKit::new();
    let send = kit.client().send(plain(1)).idempotency_key("order-17");
    let error = send.id(TaskId::random()).await.unwrap_err();
    assert!(matches!(error, SendError::Invalid { .. }), "{error:?}");
}

#[tokio::test]
async fn a_key_that_cannot_be_written_is_refused() {
    struct Broken;
    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words for it"))
        }
    }
    let kit = TestKit::new();
    let send = kit.client().send(plain(1)).unique(Unique::by(|_| Broken));
    let error = send.await.unwrap_err();
    assert!(error.to_string().contains("no words for it"), "{error}");
}
