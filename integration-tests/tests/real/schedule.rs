//! Tasks with a time.

use std::time::SystemTime;

use lovage_core::{Clock, Millis, hours, ms, secs};
use lovage_integration_tests::tasks::quick;
use lovage_integration_tests::{LIMIT, Place};

use crate::stage;

#[tokio::test]
async fn nothing_starts_before_its_time() {
    let stage = stage().await;
    let client = stage.client().await;
    let _workers = [stage.worker().spawn(), stage.worker().spawn()];
    let mut due = Vec::new();
    for number in 0..200 {
        let span = ms(fastrand::u64(0..2000));
        // Redis accepts it no earlier than this, by the clock of the same host.
        let sent_at = Clock::System.now();
        let sending = client.send(quick(number));
        let handle = if number % 2 == 0 {
            sending.countdown(span).await
        } else {
            sending.eta(sent_at.plus(span)).await
        };
        due.push((handle.unwrap().id(), sent_at.plus(span)));
    }
    stage.at_rest().await;
    for (id, due) in due {
        let starts = stage.journal.starts(id);
        assert_eq!(starts.len(), 1, "{id}");
        assert!(
            due <= starts[0].at,
            "{id} was due at {due}, {:?}",
            starts[0]
        );
    }
}

#[tokio::test]
async fn tasks_due_in_a_year_occupy_no_worker() {
    let stage = stage().await;
    let client = stage.client().await;
    let next_year = Millis::from(SystemTime::now() + hours(24 * 365));
    let later = client
        .send_all((0..1000).map(|number| client.send(quick(number)).eta(next_year)))
        .await
        .unwrap();
    let lease = ms(500);
    let _worker = stage.worker().concurrency(1).lease(lease).spawn();

    // Celery's workers would hold them, and get them again and again from the end of the visibility timeout on.
    for number in 0..20 {
        let handle = client.send(quick(number)).await.unwrap();
        assert_eq!(handle.wait(LIMIT).await.unwrap(), number);
    }
    lovage_integration_tests::stays("they wait", 4 * lease, async || true).await;
    let audit = stage.audit().await;
    audit.check();
    for handle in &later {
        assert!(audit.has(handle.id(), Place::Scheduled), "{}", handle.id());
        assert_eq!(stage.journal.of(handle.id()), []);
    }
}

#[tokio::test]
async fn thousands_of_tasks_due_at_one_instant_run_once_each() {
    let stage = stage().await;
    let client = stage.client().await;
    let mut workers = [stage.worker().spawn(), stage.worker().spawn()];
    let instant = Clock::System.now().plus(secs(2));
    let handles = client
        .send_all((0..5000).map(|number| client.send(quick(number)).ignore_result().eta(instant)))
        .await
        .unwrap();
    stage.at_rest().await;
    let entries = stage.journal.entries();
    assert_eq!(entries.len(), 2 * handles.len(), "a start and an end each");
    for entry in entries {
        assert!(instant <= entry.at, "due at {instant}: {entry:?}");
    }
    for worker in &mut workers {
        assert_eq!(worker.ended(), None);
    }
}
