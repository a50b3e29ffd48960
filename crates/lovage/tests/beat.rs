//! Schedules through the facade, on the broker inside this process.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail the test")]

use lovage::beat::{Fate, Origin, SchedulesError, TimetableError, Upserted};
use lovage::prelude::*;
use lovage::{Millis, Misfire, Priority, SendError, TaskId};

#[task(queue = "reports", priority = 7)]
async fn report(region: String) -> String {
    region
}

#[periodic(every = ms(100), misfire = Misfire::All)]
#[task(queue = "ticks")]
async fn tick() {}

async fn client(name: &str) -> Client {
    Client::connect(&format!("memory://{name}")).await.unwrap()
}

fn hourly() -> Schedule {
    Schedule::cron("@hourly").unwrap()
}

#[tokio::test]
async fn a_schedule_made_at_run_time_sends_as_its_sending_says() {
    let client = client("runtime").await;
    let schedules = client.schedules();
    let sending = client
        .send(report("eu"))
        .priority(9)
        .header("tenant", "7")
        .expires(secs(60));
    let upserted = schedules
        .upsert("nightly", hourly(), sending)
        .await
        .unwrap();
    assert_eq!(upserted, Upserted::Added);
    let standing = schedules.get("nightly").await.unwrap().unwrap();
    let record = standing.record.unwrap();
    assert_eq!(record.entry.origin, Origin::Runtime);
    let template = record.entry.template;
    assert_eq!(template.queue.as_str(), "reports");
    assert_eq!(template.priority, Priority::new(9));
    assert_eq!(template.headers["tenant"], "7");

    let changed = schedules.upsert("nightly", hourly(), report("us")).await;
    assert_eq!(changed.unwrap(), Upserted::Changed);
    let id = schedules.run_now("nightly").await.unwrap();
    let worker = client.worker().queues("reports").start().await.unwrap();
    let handle = client.handle::<report>("reports", id).unwrap();
    assert_eq!(handle.wait(secs(10)).await.unwrap(), "us");
    worker.shutdown().await;
    let firings = schedules.firings("nightly", 10).await.unwrap();
    assert!(matches!(&firings[0].fate, Fate::RunNow { id: run, .. } if *run == id));

    assert!(schedules.pause("nightly").await.unwrap());
    assert!(schedules.resume("nightly").await.unwrap());
    assert!(schedules.delete("nightly").await.unwrap());
    assert!(schedules.list(None, 10).await.unwrap().found.is_empty());
}

#[tokio::test]
async fn a_sending_that_fits_no_schedule_is_refused() {
    let client = client("refused").await;
    let schedules = client.schedules();
    let at = Millis::new(1);
    for (sending, part) in [
        (client.send(report("eu")).id(TaskId::random()), "remove .id"),
        (client.send(report("eu")).countdown(secs(1)), "remove .eta"),
        (client.send(report("eu")).eta(at), "remove .eta"),
        (client.send(report("eu")).expires_at(at), ".expires(span)"),
        (client.send(report("eu")).queue("a b"), "queue name"),
    ] {
        let error = schedules.upsert("x", hourly(), sending).await.unwrap_err();
        assert!(matches!(
            error,
            SchedulesError::Send(SendError::Invalid { .. })
        ));
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = schedules.upsert("a b", hourly(), report("eu")).await;
    assert!(matches!(error, Err(SchedulesError::Name(_))));
    assert!(schedules.get("x").await.unwrap().is_none());
}

#[tokio::test]
async fn a_beat_inside_the_program_fires_what_stands_in_its_code() {
    let client = client("embedded").await;
    let beat = client
        .beat()
        .name("shop")
        .lease(secs(1))
        .start()
        .await
        .unwrap();
    let schedules = client.schedules();
    let reached = async {
        while schedules.firings("tick", 3).await.unwrap().len() < 3 {
            tokio::time::sleep(ms(10)).await;
        }
    };
    tokio::time::timeout(secs(20), reached).await.unwrap();
    let error = schedules
        .upsert("tick", hourly(), tick())
        .await
        .unwrap_err();
    let owned = matches!(
        error,
        SchedulesError::Timetable(TimetableError::Owned { .. })
    );
    assert!(
        owned && error.to_string().contains("the code of shop"),
        "{error}"
    );
    beat.shutdown().await;

    let error = client.beat().lease(ms(1)).start().await.unwrap_err();
    assert!(error.to_string().contains("1ms"), "{error}");
}
