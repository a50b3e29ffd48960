//! What the scripts of schedules do to keys that are not as they should be, where Redis refuses, and where many beats
//! ask at once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Amended, Amendment, BeatId, Broker, BrokerError, Change, Control, EnqueueError, Inspect, Lead,
    Millis, Outgoing, Place, Rescheduled, ScheduleName, Schedules, TaskId, Tick, When, ms, secs,
};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

use crate::common::{Refusal, at_most, claim, connect, done, dump, envelope, mail, soon, worker};

const LEASE: Duration = secs(60);
/// What a schedule is stored as.
const PAST: Option<Millis> = Some(Millis::new(1));

fn report() -> ScheduleName {
    ScheduleName::parse("report").unwrap()
}

/// Stores a schedule that is due, and sends `count` tasks.
fn storing(expected: Option<u64>, count: usize) -> Amendment {
    let sends = (0..count).map(|_| (mail(), envelope().encode().unwrap()));
    Amendment {
        name: report(),
        expected,
        change: Change::Store {
            record: Bytes::from_static(b"record"),
            wake: PAST,
        },
        sends: sends.collect(),
        firings: vec![Bytes::from_static(b"fired")],
    }
}

async fn amend(broker: &RedisBroker, amendment: Amendment) -> Amended {
    broker.amend(None, vec![amendment]).await.unwrap().remove(0)
}

async fn stored(broker: &RedisBroker, expected: Option<u64>, count: usize) -> u64 {
    match amend(broker, storing(expected, count)).await {
        Amended::Done(version) => version,
        refused => panic!("{refused:?}"),
    }
}

async fn hold(broker: &RedisBroker, beat: BeatId) -> Tick {
    match broker.lead(beat, LEASE, at_most(100)).await.unwrap() {
        Lead::Held(tick) => tick,
        Lead::Standby(leader) => panic!("{leader:?} leads"),
    }
}

async fn outbox(broker: &RedisBroker) -> Vec<Outgoing> {
    broker.outbox(&mail(), at_most(1000)).await.unwrap()
}

#[tokio::test]
async fn flushed_scripts_of_schedules_are_loaded_again() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let flush = async || server.cli::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    let beat = BeatId::random();
    let mut version = None;
    for _ in 0..2 {
        flush().await;
        version = Some(stored(&broker, version, 1).await);
        flush().await;
        assert_eq!(hold(&broker, beat).await.due.len(), 1);
        flush().await;
        let waiting = outbox(&broker).await;
        flush().await;
        let forwarded = broker.forward(&mail(), waiting.clone()).await.unwrap();
        assert_eq!((forwarded.stored, forwarded.known), (1, 0));
        flush().await;
        assert!(!broker.forwarded(&mail(), waiting[0].number).await.unwrap());
        flush().await;
        broker.resign(beat).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_redis_refuses_to_fire_and_still_drains() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let beat = BeatId::random();
    let version = stored(&broker, None, 2).await;
    let waiting = outbox(&broker).await;
    broker
        .forward(&mail(), waiting[..1].to_vec())
        .await
        .unwrap();
    let mut later = envelope();
    later.start = Some(When::In(secs(600)));
    broker
        .enqueue(&mail(), vec![later.encode().unwrap()])
        .await
        .unwrap();
    server
        .cli::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();

    let before = dump(&server).await;
    let refused = broker
        .amend(None, vec![storing(Some(version), 1)])
        .await
        .unwrap_err();
    assert!(matches!(refused, BrokerError::Refused(_)), "{refused:?}");
    let refused = broker.forward(&mail(), waiting.clone()).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(_)), "{refused:?}");
    assert_eq!(dump(&server).await, before);

    let tick = hold(&broker, beat).await;
    assert_eq!((tick.due.len(), tick.outboxes), (1, vec![mail()]));
    assert!(broker.forwarded(&mail(), waiting[0].number).await.unwrap());
    assert_eq!(outbox(&broker).await, waiting[1..]);
    assert!(broker.schedule(&report()).await.unwrap().found.is_some());
    assert_eq!(broker.schedules(None, 9).await.unwrap().found.len(), 1);
    assert_eq!(broker.firings(&report(), 9).await.unwrap().len(), 1);
    assert_eq!(broker.leader().await.unwrap().unwrap().beat, beat);
    assert_eq!(broker.scheduled(&mail(), 0, 9).await.unwrap().len(), 1);
    let moved = broker.reschedule(&mail(), later.id, When::In(ms(0))).await;
    assert!(matches!(moved, Ok(Rescheduled::Moved(_))), "{moved:?}");
    broker.resign(beat).await.unwrap();
    assert_eq!(broker.leader().await.unwrap(), None);
}

/// Each key in turn is of the wrong type; each verb in turn meets it. It says so or works, and one that refuses has
/// written nothing.
#[tokio::test]
async fn a_key_of_the_wrong_type_is_reported_and_no_schedule_is_changed() {
    const KEYS: [&str; 17] = [
        "{lovage}:meta",
        "{lovage}:versions",
        "{lovage}:records",
        "{lovage}:wakes",
        "{lovage}:names",
        "{lovage}:outboxes",
        "{lovage}:outbox:mail",
        "{lovage}:history:report",
        "{lovage}:bell",
        "{lovage}:standby",
        "{lovage:mail}:meta",
        "{lovage:mail}:tasks",
        "{lovage:mail}:ready:5",
        "{lovage:mail}:scheduled",
        "{lovage:mail}:dead",
        "{lovage:mail}:reasons",
        "{lovage:mail}:bell",
    ];
    let server = RedisServer::start().await;
    let mut refusals = 0;
    for key in KEYS {
        for verb in Verb::ALL {
            server.cli::<()>(&["FLUSHALL"]).await.unwrap();
            let broker = connect(&server).await;
            let prepared = Prepared::new(&broker).await;
            server.cli::<()>(&["DEL", key]).await.unwrap();
            server.cli::<()>(&["SET", key, "wrong"]).await.unwrap();
            let before = dump(&server).await;
            match prepared.call(&broker, verb).await {
                Ok(()) => {}
                Err(Refusal::Misconfigured) => {
                    refusals += 1;
                    let after = dump(&server).await;
                    assert_eq!(after, before, "{verb:?} wrote before it refused {key}");
                }
                Err(Refusal::Other(error)) => panic!("{verb:?} met {key}: {error}"),
            }
            // The history of what is removed goes whatever it is.
            if !(matches!(verb, Verb::Remove) && key.contains("history")) {
                let kept: String = server.cli(&["GET", key]).await.unwrap();
                assert_eq!(kept, "wrong", "{verb:?} replaced {key}");
            }
        }
    }
    // Most pairs do not meet. These are far fewer than do, and far more than none.
    assert!(40 < refusals, "only {refusals} refusals");
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    LeadAnew,
    LeadOn,
    Resign,
    Store,
    Remove,
    Schedule,
    Schedules,
    Firings,
    Leader,
    Outbox,
    Forward,
    Forwarded,
    Reschedule,
    Scheduled,
}

impl Verb {
    const ALL: [Self; 14] = [
        Self::LeadAnew,
        Self::LeadOn,
        Self::Resign,
        Self::Store,
        Self::Remove,
        Self::Schedule,
        Self::Schedules,
        Self::Firings,
        Self::Leader,
        Self::Outbox,
        Self::Forward,
        Self::Forwarded,
        Self::Reschedule,
        Self::Scheduled,
    ];
}

/// A schedule with a history and something in the outbox, a leader, and a scheduled task.
struct Prepared {
    beat: BeatId,
    version: u64,
    waiting: Vec<Outgoing>,
    scheduled: TaskId,
}

impl Prepared {
    async fn new(broker: &RedisBroker) -> Self {
        let beat = BeatId::random();
        hold(broker, beat).await;
        let version = stored(broker, None, 3).await;
        let mut later = envelope();
        later.start = Some(When::In(secs(600)));
        let tasks = vec![later.encode().unwrap()];
        broker.enqueue(&mail(), tasks).await.unwrap();
        let mut waiting = outbox(broker).await;
        // One that is ready at once, one that is scheduled, one that is malformed.
        let mut later = envelope();
        later.start = Some(When::In(secs(600)));
        waiting[1].bytes = later.encode().unwrap().bytes().clone();
        waiting[2].bytes = Bytes::from_static(b"short");
        Self {
            beat,
            version,
            waiting,
            scheduled: broker.scheduled(&mail(), 0, 1).await.unwrap()[0].id,
        }
    }

    async fn call(&self, broker: &RedisBroker, verb: Verb) -> Result<(), Refusal> {
        let mail = mail();
        match verb {
            Verb::LeadAnew => {
                broker.lead(BeatId::random(), LEASE, at_most(9)).await?;
            }
            Verb::LeadOn => {
                broker.lead(self.beat, LEASE, at_most(9)).await?;
            }
            Verb::Resign => broker.resign(self.beat).await?,
            Verb::Store => {
                let amendments = vec![
                    storing(Some(self.version), 1),
                    Amendment {
                        name: ScheduleName::parse("another").unwrap(),
                        ..storing(None, 1)
                    },
                ];
                broker.amend(None, amendments).await?;
            }
            Verb::Remove => {
                let amendment = Amendment {
                    change: Change::Remove,
                    firings: Vec::new(),
                    ..storing(Some(self.version), 1)
                };
                broker.amend(None, vec![amendment]).await?;
            }
            Verb::Schedule => {
                broker.schedule(&report()).await?;
            }
            Verb::Schedules => {
                broker.schedules(None, 9).await?;
            }
            Verb::Firings => {
                broker.firings(&report(), 9).await?;
            }
            Verb::Leader => {
                broker.leader().await?;
            }
            Verb::Outbox => {
                broker.outbox(&mail, at_most(9)).await?;
            }
            Verb::Forward => {
                broker.forward(&mail, self.waiting.clone()).await?;
            }
            Verb::Forwarded => {
                broker.forwarded(&mail, self.waiting[2].number).await?;
            }
            Verb::Reschedule => {
                let when = When::In(secs(1));
                broker.reschedule(&mail, self.scheduled, when).await?;
            }
            Verb::Scheduled => {
                broker.scheduled(&mail, 0, 9).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_lost_reply_to_a_change_or_a_forwarding_may_be_asked_for_again() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let config = RedisConfig::new(proxy.url()).response_timeout(ms(200));
    let broker = RedisBroker::connect(&config).await.unwrap();
    let direct = connect(&server).await;
    let worker = worker(&direct).await;
    // Loads the scripts: else the lost reply would be that they are not there.
    let version = stored(&direct, None, 1).await;
    let waiting = outbox(&direct).await;
    direct.forward(&mail(), waiting.clone()).await.unwrap();
    assert!(!direct.forwarded(&mail(), waiting[0].number).await.unwrap());
    let held = claim(&direct, worker, 1).await;
    let verdicts = vec![done(&held[0])];
    direct.settle(worker, &mail(), verdicts).await.unwrap();

    let change = storing(Some(version), 1);
    proxy.set(Fault::DropReplies);
    let lost = broker.amend(None, vec![change.clone()]).await;
    assert!(matches!(lost, Err(BrokerError::Unknown(_))), "{lost:?}");
    proxy.set(Fault::Pass);
    let again = soon("answer", async {
        loop {
            if let Ok(answers) = broker.amend(None, vec![change.clone()]).await {
                break answers;
            }
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    assert_eq!(again, [Amended::Conflict]);
    let waiting = outbox(&direct).await;
    assert_eq!(waiting.len(), 1);

    proxy.set(Fault::DropReplies);
    let lost = broker.forward(&mail(), waiting.clone()).await;
    assert!(matches!(lost, Err(EnqueueError::Unknown(_))), "{lost:?}");
    // It runs and is gone before anybody forwards it again.
    let held = claim(&direct, worker, 1).await;
    assert_eq!(held[0].id, waiting[0].id);
    let verdicts = vec![done(&held[0])];
    direct.settle(worker, &mail(), verdicts).await.unwrap();
    proxy.set(Fault::Pass);
    let again = soon("answer", async {
        loop {
            if let Ok(forwarded) = broker.forward(&mail(), waiting.clone()).await {
                break forwarded;
            }
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    assert_eq!((again.stored, again.known), (0, 1));
    let place = direct.state(&mail(), waiting[0].id).await.unwrap();
    assert_eq!(place, Place::Gone);
}

/// One look of a beat that led: who, when, and whether it gave up the lead right after.
struct Look {
    beat: BeatId,
    now: Millis,
    resigned: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_beats_leads_at_a_time_and_epochs_grow() {
    const SHORT: Duration = ms(3);
    let server = RedisServer::start().await;
    let brokers = [connect(&server).await, connect(&server).await];
    let racers: Vec<_> = (0..20)
        .map(|number| {
            let broker = brokers[number % 2].clone();
            tokio::spawn(async move {
                let beat = BeatId::random();
                let mut looks = Vec::new();
                while looks.len() < 5 {
                    let lead = broker.lead(beat, SHORT, at_most(1)).await.unwrap();
                    if let Lead::Held(Tick { epoch, now, .. }) = lead {
                        // After some of them: other leases must run out.
                        let resigned = (looks.len() + number) % 3 == 0;
                        if resigned {
                            broker.resign(beat).await.unwrap();
                        }
                        let look = Look {
                            beat,
                            now,
                            resigned,
                        };
                        looks.push((epoch, look));
                    }
                }
                looks
            })
        })
        .collect();
    let mut epochs: BTreeMap<u64, Vec<Look>> = BTreeMap::new();
    for racer in racers {
        for (epoch, look) in soon("turn to lead", racer).await.unwrap() {
            epochs.entry(epoch).or_default().push(look);
        }
    }
    // Each has led.
    assert!(20 <= epochs.len(), "{} epochs", epochs.len());
    let mut free_from = Millis::default();
    for (epoch, mut looks) in epochs {
        looks.sort_by_key(|look| look.now);
        let first = &looks[0];
        assert!(free_from <= first.now, "epoch {epoch} began too early");
        assert!(
            looks.iter().all(|look| look.beat == first.beat),
            "two beats in epoch {epoch}"
        );
        let last = &looks[looks.len() - 1];
        // Within one millisecond the order is not seen.
        let resigned = looks.iter().any(|look| look.resigned);
        free_from = if resigned {
            last.now
        } else {
            last.now.plus(SHORT)
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_change_one_version_fire_it_once_and_forward_it_once() {
    let server = RedisServer::start().await;
    let brokers = [connect(&server).await, connect(&server).await];
    let worker = worker(&brokers[0]).await;
    let mut version = stored(&brokers[0], None, 0).await;
    for round in 0..10 {
        let racers: Vec<_> = (0..20)
            .map(|number| {
                let broker = brokers[number % 2].clone();
                tokio::spawn(async move {
                    let answer = amend(&broker, storing(Some(version), 1)).await;
                    let waiting = outbox(&broker).await;
                    let forwarded = broker.forward(&mail(), waiting.clone()).await.unwrap();
                    if let Some(last) = waiting.last() {
                        broker.forwarded(&mail(), last.number).await.unwrap();
                    }
                    (answer, forwarded.stored)
                })
            })
            .collect();
        let (mut made, mut stored) = (Vec::new(), 0);
        for racer in racers {
            let (answer, forwarded) = racer.await.unwrap();
            if let Amended::Done(version) = answer {
                made.push(version);
            }
            stored += forwarded;
        }
        assert_eq!((made.len(), stored), (1, 1), "round {round}");
        assert!(version < made[0]);
        version = made[0];
        let held = claim(&brokers[0], worker, 10).await;
        assert_eq!(held.len(), 1);
        let verdicts = vec![done(&held[0])];
        brokers[1].settle(worker, &mail(), verdicts).await.unwrap();
    }
    assert_eq!(outbox(&brokers[0]).await, []);
}
