//! One key is one order, however often, when and how it comes; what is no order is refused with the reason.

use futures_util::future::join_all;
use lovage::{Clock, ManualClock, Millis};
use webshop::{Orders, Wish, pick_up_orders};

use crate::http::{get, post, post_form, post_json};
use crate::stage::{ADA, Stage, done};

#[tokio::test]
async fn a_double_click_is_one_order() {
    let stage = Stage::start().await;
    let clicks = (0..20).map(|_| post_json(stage.address, "click-1", ADA));
    let mut statuses: Vec<u16> = Vec::new();
    for answer in join_all(clicks).await {
        assert_eq!(answer.json()["number"], 1, "{answer:?}");
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!((statuses[19], statuses[18]), (201, 200), "{statuses:?}");
    done(stage.address, 1).await;
    assert_eq!(stage.mails().len(), 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_click_that_comes_when_all_tasks_are_done_is_the_same_order() {
    let stage = Stage::start().await;
    let first = post_json(stage.address, "click-1", ADA).await;
    done(stage.address, 1).await;

    let second = post_json(stage.address, "click-1", ADA).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.header("location"), second.header("location"));
    let order = get(stage.address, second.header("location")).await.json();
    assert_eq!(
        (&order["number"], &order["step"]),
        (&1.into(), &"shipped".into())
    );

    // Whatever the second click had sent would be done before the next order is.
    let next = post_json(stage.address, "click-2", ADA).await;
    assert_eq!((next.status, &next.json()["number"]), (201, &2.into()));
    done(stage.address, 2).await;
    assert_eq!(stage.mails().len(), 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_form_that_is_sent_twice_is_one_order() {
    let stage = Stage::start().await;
    let page = get(stage.address, "/").await.body;
    let (_, rest) = page.split_once("name=\"key\" value=\"").unwrap();
    let (key, _) = rest.split_once('"').unwrap();
    let form = |quantity| {
        format!("key={key}&name=Ada&email=ada%40example.org&product=teapot&quantity={quantity}")
    };
    let (one, two) = (form(1), form(1));
    let (one, two) = tokio::join!(
        post_form(stage.address, &one),
        post_form(stage.address, &two)
    );
    for answer in [one, two] {
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/?placed=1")
        );
    }

    // The page once more, with something else in it, is not silently the old order.
    let other = post_form(stage.address, &form(2)).await;
    assert_eq!(other.status, 422);
    assert!(other.body.contains("sent before, as order 1"), "{other:?}");
    assert!(!other.body.contains(key), "the page needs a new key");
    stage.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_one_order_only() {
    let stage = Stage::start().await;
    assert_eq!(post_json(stage.address, "k", ADA).await.status, 201);
    let other = post_json(stage.address, "k", &ADA.replace("cup", "teapot")).await;
    assert_eq!(other.status, 422);
    assert!(
        other.body.contains("used for another order, number 1"),
        "{other:?}"
    );
    stage.stop().await;
}

#[tokio::test]
async fn what_is_no_order_is_refused_with_the_reason() {
    let stage = Stage::start().await;
    let json = "Content-Type: application/json\r\n";
    let keyed = "Content-Type: application/json\r\nIdempotency-Key: k\r\n";
    let long_key = format!("{json}Idempotency-Key: {}\r\n", "k".repeat(201));
    for (headers, body, status, part) in [
        (json, ADA, 400, "Idempotency-Key"),
        (long_key.as_str(), ADA, 400, "1 to 200"),
        (keyed, "{", 400, "EOF"),
        (keyed, "[]", 422, "missing"),
        (keyed, "{\"name\":7}", 422, "string"),
        (keyed, "{}", 422, "\"field\":\"email\""),
        (keyed, &ADA.replace('2', "100"), 422, "from 1 to 99"),
        (
            keyed,
            &ADA.replace("ada@", "ada"),
            422,
            "like ada@example.org",
        ),
        (
            keyed,
            &ADA.replace("Ada ", "Ada\\r\\nBcc: x@y.example "),
            422,
            "one line",
        ),
        (
            keyed,
            &format!("\"{}\"", "x".repeat(20_000)),
            413,
            "length limit",
        ),
        (
            "Content-Type: text/plain\r\n",
            "teapot",
            415,
            "application/json",
        ),
        ("", "teapot", 415, "application/json"),
    ] {
        let answer = post(stage.address, headers, body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body.contains(part), "{part}: {answer:?}");
    }
    let answer = post_form(stage.address, "name=Ada&quantity=x").await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.body.contains("value=\"Ada\""),
        "what was typed stays: {answer:?}"
    );
    assert!(answer.body.contains("is missing"), "{answer:?}");
    assert_eq!(get(stage.address, "/orders/none").await.status, 404);
    assert!(
        get(stage.address, "/")
            .await
            .body
            .contains("Nobody has ordered")
    );
    stage.stop().await;
}

#[tokio::test]
async fn an_order_whose_tasks_were_never_sent_is_picked_up() {
    let stage = Stage::start().await;
    // Kept two minutes ago by a web server that was killed before it sent anything.
    let now = Millis::from(std::time::SystemTime::now());
    let then = Millis::new(now.get() - 120_000);
    let journal = stage.folder.path().join("orders.jsonl");
    let clock = Clock::Manual(ManualClock::starting_at(then));
    let killed = Orders::with_clock(journal, clock).unwrap();
    let wish: Wish = serde_json::from_str(ADA).unwrap();
    let order = killed.place("lost".to_owned(), wish.check().unwrap());
    order.await.unwrap();

    for _ in 0..2 {
        let sent = stage.client.send(pick_up_orders()).await.unwrap();
        sent.wait(lovage::secs(30)).await.ok();
    }
    done(stage.address, 1).await;
    assert_eq!(stage.mails().len(), 1);
    stage.stop().await;
}
