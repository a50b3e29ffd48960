//! Mails by real SMTP: each once, also when the server comes late, and never to an address that is not there.

use lovage::{Millis, TaskId, secs};
use webshop::{MAIL_QUEUE, daily_sales_report};

use crate::http::{get, post_json};
use crate::stage::{ADA, Stage, done, sink_in};

#[tokio::test]
async fn a_receipt_is_mailed_once_with_what_was_ordered() {
    let stage = Stage::start().await;
    post_json(stage.address, "k", ADA).await;
    done(stage.address, 1).await;
    let mails = stage.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    for part in [
        "Return-Path: <orders@webshop.example>\r\nDelivered-To: ada@example.org\r\n",
        "To: \"Ada Lovelace\" <ada@example.org>\r\n",
        "Subject: Your order 1\r\n",
        "Dear Ada Lovelace",
        "32.00",
        "text/html",
    ] {
        assert!(mails[0].contains(part), "{part}\n{}", mails[0]);
    }

    let list = get(stage.address, "/mails").await.body;
    assert!(list.contains("Your order 1"), "{list}");
    let (_, rest) = list.split_once("href=\"/mails/").unwrap();
    let path = format!("/mails/{}", rest.split_once('"').unwrap().0);
    let mail = get(stage.address, &path).await;
    assert_eq!(mail.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(mail.body, mails[0]);
    for path in [
        "/mails/..%2Forders.jsonl",
        "/mails/0.eml",
        "/mails/orders.jsonl",
    ] {
        assert_eq!(get(stage.address, path).await.status, 404, "{path}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_mail_server_that_comes_late_gets_each_mail_once() {
    // An address where nobody listens yet.
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let stage = Stage::start_with(folder, address).await;
    for key in ["a", "b", "c"] {
        assert_eq!(post_json(stage.address, key, ADA).await.status, 201);
    }
    let mut events = crate::http::Events::open(stage.address, "/events?after=0", "").await;
    let shipped = |order: &serde_json::Value| order["step"] == "shipped";
    while !events
        .next()
        .await
        .1
        .as_array()
        .unwrap()
        .iter()
        .any(shipped)
    {}

    sink_in(stage.folder.path(), &address.to_string()).await;
    for number in 1..=3 {
        done(stage.address, number).await;
    }
    assert_eq!(stage.mails().len(), 3);
    stage.stop().await;
}

#[tokio::test]
async fn an_address_that_is_refused_is_a_dead_letter_and_the_order_goes_on() {
    let stage = Stage::start().await;
    post_json(
        stage.address,
        "k",
        &ADA.replace("example.org", "nowhere.invalid"),
    )
    .await;
    let mut events = crate::http::Events::open(stage.address, "/events?after=0", "").await;
    let shipped = |order: &serde_json::Value| order["step"] == "shipped";
    while !events
        .next()
        .await
        .1
        .as_array()
        .unwrap()
        .iter()
        .any(shipped)
    {}

    let limit = std::time::Instant::now() + secs(20);
    let dead = stage.client.dead_letters_of(MAIL_QUEUE).unwrap();
    let letter = loop {
        let mut letters = dead.list(0, 10).await.unwrap();
        if let Some(letter) = letters.pop() {
            break letter;
        }
        assert!(std::time::Instant::now() < limit, "no dead letter");
        tokio::task::yield_now().await;
    };
    assert!(
        letter.failure.to_string().contains("550"),
        "{:?}",
        letter.failure
    );
    assert!(stage.mails().is_empty());
    stage.stop().await;
}

#[tokio::test]
async fn a_report_is_of_the_day_before_its_occurrence() {
    let stage = Stage::start().await;
    post_json(stage.address, "k", ADA).await;
    done(stage.address, 1).await;
    let day = std::time::Duration::from_hours(24);
    let now = Millis::from(std::time::SystemTime::now());
    for (id, occurrence, orders) in [
        ("tomorrow", now.plus(day), "(Europe/Lisbon): 1"),
        ("today", now, "(Europe/Lisbon): 0"),
    ] {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(occurrence.get()).unwrap());
        let report = stage.client.send(daily_sales_report());
        let report = report
            .id(TaskId::derived(id.as_bytes()))
            .header("lovage-occurrence", instant.unwrap().to_string())
            .await
            .unwrap();
        report.wait(secs(30)).await.unwrap();
        let mails = stage.mails();
        let mail = mails.last().unwrap();
        assert!(
            mail.contains("Delivered-To: owner@webshop.example\r\n"),
            "{mail}"
        );
        assert!(mail.contains("Subject: Sales of 20"), "{mail}");
        assert!(mail.contains(orders), "{mail}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn the_daily_report_is_in_the_timetable() {
    let stage = Stage::start().await;
    let beat = stage.client.beat().start().await.unwrap();
    let schedules = stage.client.schedules();
    let limit = std::time::Instant::now() + secs(20);
    // A beat tells its schedules once it leads.
    while let Err(error) = schedules.run_now("daily_sales_report").await {
        assert!(std::time::Instant::now() < limit, "{error}");
        tokio::time::sleep(lovage::ms(10)).await;
    }
    while stage.mails().is_empty() {
        assert!(std::time::Instant::now() < limit, "no report");
        tokio::time::sleep(lovage::ms(10)).await;
    }
    assert!(stage.mails()[0].contains("Subject: Sales of 20"));
    beat.shutdown().await;
    stage.stop().await;
}
