//! What the page shows, and what it is told.

use crate::http::{Events, get, post_json};
use crate::stage::{ADA, Stage, done};

#[tokio::test]
async fn a_hostile_name_stays_text() {
    let stage = Stage::start().await;
    let name = r"<script>alert('x')</script>\u0022 & Söhne";
    post_json(stage.address, "k", &ADA.replace("Ada Lovelace", name)).await;
    done(stage.address, 1).await;
    let page = get(stage.address, "/").await;
    let escaped = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; &amp; Söhne";
    assert!(page.body.contains(escaped), "{page:?}");
    assert!(!page.body.contains("<script>alert"), "{page:?}");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'self'")
    );

    let mail = stage.mails().remove(0);
    let (headers, body) = mail.split_once("\r\n\r\n").unwrap();
    assert!(headers.contains("<ada@example.org>\r\n"), "{headers}");
    let (_, html) = body.split_once("text/html").unwrap();
    assert!(!html.contains("<script>alert"), "{html}");
    stage.stop().await;
}

#[tokio::test]
async fn a_page_is_told_each_step_and_misses_none_when_it_comes_back() {
    let stage = Stage::start().await;
    let page = get(stage.address, "/").await.body;
    assert!(page.contains("data-read=\"0\""), "{page}");
    let mut events = Events::open(stage.address, "/events?after=0", "").await;
    post_json(stage.address, "k", ADA).await;
    let (first, orders) = events.next().await;
    assert_eq!(orders[0]["what"], "2 × Cup, two of them");
    assert_eq!(
        orders[0]["email"],
        serde_json::Value::Null,
        "addresses are nobody's business"
    );
    drop(events);
    done(stage.address, 1).await;

    let last = format!("Last-Event-ID: {first}\r\n");
    let mut again = Events::open(stage.address, "/events?after=0", &last).await;
    let (id, orders) = again.next().await;
    assert_eq!(
        (orders[0]["step"].as_str(), id.as_str()),
        (Some("shipped"), "5")
    );
    stage.stop().await;
}
