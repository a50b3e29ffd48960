//! What the journal promises, with two of them on one file as in two processes.

use std::fs;

use super::*;
use crate::form::Wish;

fn draft(name: &str) -> Draft {
    let wish = Wish {
        name: name.to_owned(),
        email: "ada@example.org".to_owned(),
        product: "cup".to_owned(),
        quantity: "3".to_owned(),
        key: String::new(),
    };
    wish.check().unwrap()
}

#[tokio::test]
async fn an_order_is_created_once_whoever_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/orders.jsonl");
    let (one, other) = (Orders::open(&path).unwrap(), Orders::open(&path).unwrap());
    let placings = futures_util::future::join_all((0..40).map(|n| {
        let orders = if n % 2 == 0 { &one } else { &other };
        orders.place("a".to_owned(), draft("Ada"))
    }))
    .await;
    let new = placings
        .iter()
        .filter(|placing| matches!(placing, Ok(Placing::New(_))));
    assert_eq!(new.count(), 1);
    for placing in placings {
        let placing = placing.unwrap();
        assert_eq!((placing.order().number, placing.order().cents), (1, 48_00));
    }
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn an_order_goes_forward_step_by_step_and_repeats_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.jsonl");
    let (one, other) = (Orders::open(&path).unwrap(), Orders::open(&path).unwrap());
    let id = || "a".to_owned();
    one.place(id(), draft("Ada")).await.unwrap();
    assert!(matches!(
        other.advance(id(), Step::Packed).await,
        Err(JournalError::OutOfTurn { .. })
    ));
    for orders in [&other, &one] {
        orders.advance(id(), Step::Paid).await.unwrap();
        orders.receipt_sent(id()).await.unwrap();
    }
    other.advance(id(), Step::Placed).await.unwrap();
    let order = one.get("a").await.unwrap();
    assert_eq!((order.step, order.receipt_sent), (Step::Paid, true));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert!(matches!(
        one.get("b").await,
        Err(JournalError::NoSuchOrder(_))
    ));
}

#[tokio::test]
async fn changes_of_other_processes_are_told_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.jsonl");
    let (page, worker) = (Orders::open(&path).unwrap(), Orders::open(&path).unwrap());
    let stop = CancellationToken::new();
    let mut news = page.watch();
    let following = tokio::spawn({
        let (page, stop) = (page.clone(), stop.clone());
        async move { page.follow(&stop).await }
    });
    worker.place("a".to_owned(), draft("Ada")).await.unwrap();
    worker.advance("a".to_owned(), Step::Paid).await.unwrap();
    let all_read = news.wait_for(|read| *read == 2);
    let waited = tokio::time::timeout(lovage::secs(20), all_read).await;
    waited.expect("the change of the other process").unwrap();

    let (changed, read) = page.changed_since(0, 10);
    assert_eq!((changed.len(), changed[0].step, read), (1, Step::Paid, 2));
    assert_eq!(page.changed_since(read, 10), (Vec::new(), 2));
    assert_eq!(page.changed_since(99, 10), (Vec::new(), 2));
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn half_a_line_of_a_killed_process_is_cut_off_and_nonsense_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.jsonl");
    let orders = Orders::open(&path).unwrap();
    orders.place("a".to_owned(), draft("Ada")).await.unwrap();
    let whole = fs::read(&path).unwrap();

    fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
    let again = Orders::open(&path).unwrap();
    again.place("b".to_owned(), draft("Bob")).await.unwrap();
    assert_eq!(again.get("b").await.unwrap().number, 2);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert_eq!(orders.get("b").await.unwrap().name, "Bob");

    // Somebody has cut off what was read: nothing is written behind the hole.
    fs::write(&path, &whole).unwrap();
    let error = orders.place("c".to_owned(), draft("Cleo")).await;
    assert!(matches!(error, Err(JournalError::Io { .. })), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), whole);

    fs::write(&path, [&whole[..], b"{}\n"].concat()).unwrap();
    let error = Orders::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("orders.jsonl"),
        "{error}"
    );
}
