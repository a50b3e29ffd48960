//! What an operator does with dead letters, by a client.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::num::NonZeroU16;

use lovage::dead_letters::{DeadLetters, DeadLettersError, Edit, Filter, Retention};
use lovage::prelude::*;
use lovage::{
    Clock, Envelope, FailureKind, ManualClock, Place, QueueName, Revived, TaskId, TaskOptions,
    Unique,
};
use lovage_broker_memory::MemoryBroker;
use lovage_core::{Broker, Claim, Failure, Inspect, Membership, Settlement, Verdict, WorkerId};

#[task]
async fn resize(width: u32) -> u32 {
    width
}

#[task]
async fn mail(to: String) -> String {
    to
}

#[task(unique = Unique::args())]
async fn refresh(shop: u64) {
    let _ = shop;
}

/// A client on a clock that stands still, and a worker that fails whatever it is told to.
struct Office {
    broker: MemoryBroker,
    client: Client,
    queue: QueueName,
    worker: WorkerId,
}

impl Office {
    async fn open() -> Self {
        let clock = Clock::Manual(ManualClock::default());
        let broker = MemoryBroker::with_clock(clock);
        let (queue, worker) = (QueueName::parse("default").unwrap(), WorkerId::random());
        broker
            .register(worker, &queue, hours(24 * 365))
            .await
            .unwrap();
        Self {
            client: Client::with_broker(broker.clone()),
            broker,
            queue,
            worker,
        }
    }

    fn dead(&self) -> DeadLetters {
        self.client.dead_letters_of("default").unwrap()
    }

    /// Everything that is ready fails for good.
    async fn fail_all(&self, kind: FailureKind) {
        let max = NonZeroU16::new(1000).unwrap();
        loop {
            let claim = self.broker.claim(self.worker, &self.queue, max).await;
            let Claim::Granted(batch) = claim.unwrap() else {
                panic!("the lease lasts a year");
            };
            if batch.deliveries.is_empty() {
                return;
            }
            let settlements = batch.deliveries.into_iter().map(|delivery| Settlement {
                id: delivery.id,
                fence: delivery.fence,
                verdict: Verdict::Bury(Failure::new(kind, "no")),
            });
            let settled = self
                .broker
                .settle(self.worker, &self.queue, settlements.collect());
            settled.await.unwrap();
        }
    }

    async fn ready(&self) -> u64 {
        self.broker.counts(&self.queue).await.unwrap().ready
    }
}

#[tokio::test]
async fn revive_all_takes_what_the_filter_names_over_all_pages() {
    let office = Office::open().await;
    let sends = (0..2500).map(resize);
    office.client.send_all(sends).await.unwrap();
    office.fail_all(FailureKind::Error).await;
    office.broker.advance(secs(60));
    for _ in 0..3 {
        office.client.send(mail("ada")).await.unwrap();
    }
    office.fail_all(FailureKind::Panic).await;
    office.broker.advance(secs(5));

    let dead = office.dead();
    for (filter, expected) in [
        (Filter::new().task("nobody"), 0),
        (Filter::new().task("resize").kind(FailureKind::Panic), 0),
        (Filter::new().newer_than(secs(5)), 0),
        (Filter::new().task("mail").newer_than(secs(6)), 3),
        (Filter::new().older_than(secs(65)), 2500),
        (Filter::new(), 0),
    ] {
        let revived = dead.revive_all(&filter).await.unwrap();
        assert_eq!(revived, expected, "{filter:?}");
    }
    assert_eq!(office.ready().await, 2503);
    assert_eq!(dead.summary().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn a_dead_letter_is_revived_with_other_arguments_and_options() {
    let office = Office::open().await;
    let id = office.client.send(resize(0)).await.unwrap().id();
    office.fail_all(FailureKind::Error).await;
    let dead = office.dead();

    let too_far = Edit::new().options(TaskOptions::new().queue("other"));
    let refused = dead.revive_edited(id, too_far).await.unwrap_err();
    assert!(matches!(refused, DeadLettersError::Edit(_)), "{refused}");
    assert!(dead.get(id).await.unwrap().is_some());

    let edit = Edit::new()
        .message(&resize(300))
        .options(TaskOptions::new().priority(9).max_retries(1));
    assert_eq!(dead.revive_edited(id, edit).await.unwrap(), Revived::Ready);
    let again = dead.revive_edited(id, Edit::new()).await.unwrap();
    assert_eq!(again, Revived::NotDead);
    office.fail_all(FailureKind::Error).await;
    let letter = dead.get(id).await.unwrap().unwrap();
    let envelope = Envelope::decode(&letter.bytes).unwrap();
    assert_eq!(envelope.max_retries, Some(1));
    assert_eq!(
        envelope.args,
        lovage_core::encode_args(&resize(300)).unwrap()
    );
}

#[tokio::test]
async fn a_dead_letter_says_what_it_is() {
    let office = Office::open().await;
    let id = office.client.send(mail("ada")).await.unwrap().id();
    office.fail_all(FailureKind::Error).await;
    let letter = office.dead().get(id).await.unwrap().unwrap();
    assert_eq!(letter.task().unwrap().as_str(), "mail");
    assert_eq!(letter.message::<mail>().unwrap().to, "ada");
    let other = letter.message::<resize>().err().unwrap().to_string();
    assert!(other.contains("is mail, not resize"), "{other}");
    let shown = letter.to_string();
    for part in [
        id.to_string(),
        "mail died at ".into(),
        letter.failure.to_string(),
    ] {
        assert!(shown.contains(&part), "{shown}");
    }
    assert!(!format!("{letter} {letter:?}").contains("ada"));
}

#[tokio::test]
async fn an_edited_unique_task_holds_the_key_of_its_new_arguments() {
    let office = Office::open().await;
    let id = office.client.send(refresh(7)).await.unwrap().id();
    office.fail_all(FailureKind::Error).await;
    let dead = office.dead();
    let edit = || Edit::new().message(&refresh(8));
    let other = office.client.send(refresh(8)).await.unwrap();
    let held = dead.revive_edited(id, edit()).await.unwrap();
    assert_eq!(held, Revived::Held(other.id()));
    other.cancel().await.unwrap();
    assert_eq!(
        dead.revive_edited(id, edit()).await.unwrap(),
        Revived::Ready
    );

    let same = office.client.send(refresh(8)).await.unwrap();
    assert_eq!((same.id(), same.is_new()), (id, false));
    assert!(office.client.send(refresh(7)).await.unwrap().is_new());
}

#[tokio::test]
async fn dead_letters_are_purged_by_id_and_by_age_and_kept_as_many_as_said() {
    let office = Office::open().await;
    let dead = office.dead();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(office.client.send(resize(n)).await.unwrap().id());
        office.fail_all(FailureKind::Error).await;
        office.broker.advance(secs(1));
    }
    let purged = dead.purge(&[ids[3], ids[3]]).await.unwrap();
    assert_eq!(purged, [true, false]);
    assert_eq!(dead.purge_older(secs(4)).await.unwrap(), 1);
    let left: Vec<TaskId> = dead
        .list(0, 9)
        .await
        .unwrap()
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(left, ids[1..3]);

    let retention = Retention {
        count: Some(2),
        ..Retention::default()
    };
    dead.retain(retention).await.unwrap();
    let last = office.client.send(resize(9)).await.unwrap().id();
    office.fail_all(FailureKind::Error).await;
    let summary = dead.summary().await.unwrap();
    assert_eq!((summary.count, summary.cut), (2, 1));
    assert_eq!(summary.retention, retention);
    let place = office.broker.state(&office.queue, last).await.unwrap();
    assert_eq!(place, Place::Dead);
}
