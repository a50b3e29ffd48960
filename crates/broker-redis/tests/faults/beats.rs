//! What the scripts of schedules do to keys that are not as they should be, and where Redis refuses.

use std::time::Duration;

use bytes::Bytes;
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_core::{
    Amended, Amendment, BeatId, Broker, BrokerError, Change, Clock, Control, EnqueueError, Inspect,
    Lead, ManualClock, Millis, Outgoing, Place, Rescheduled, ScheduleName, Schedules, TaskId, Tick,
    When, ms, secs,
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
pub(crate) fn storing(expected: Option<u64>, count: usize) -> Amendment {
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

pub(crate) async fn amend(broker: &RedisBroker, amendment: Amendment) -> Amended {
    broker.amend(None, vec![amendment]).await.unwrap().remove(0)
}

pub(crate) async fn stored(broker: &RedisBroker, expected: Option<u64>, count: usize) -> u64 {
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

pub(crate) async fn outbox(broker: &RedisBroker) -> Vec<Outgoing> {
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

#[tokio::test]
async fn a_leader_is_woken_for_what_it_changes_beside_its_loop_and_not_for_what_it_fires() {
    const BELL: &str = "{lovage}:bell";
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let tick = hold(&broker, BeatId::random()).await;
    let rung = async || server.cli::<u64>(&["DEL", BELL]).await.unwrap() == 1;
    let at = |span| Some(tick.now.plus(span));
    let mut version = None;
    for (wake, fires, rings) in [
        (at(secs(600)), false, true),
        (at(secs(300)), true, false),
        (at(secs(200)), false, true),
        (None, false, false),
        (PAST, true, false),
        (PAST, false, true),
    ] {
        let record = Bytes::from_static(b"record");
        let mut amendment = storing(version, 1);
        amendment.change = Change::Store { record, wake };
        if !fires {
            amendment.sends.clear();
            amendment.firings.clear();
        }
        let answers = broker.amend(Some(tick.epoch), vec![amendment]).await;
        let Amended::Done(made) = answers.unwrap()[0] else {
            panic!("it is the leader's own");
        };
        version = Some(made);
        assert_eq!(rung().await, rings, "{wake:?}, fired: {fires}");
    }
    let later = Amendment {
        name: ScheduleName::parse("later").unwrap(),
        ..storing(None, 1)
    };
    broker.amend(None, vec![later]).await.unwrap();
    assert!(rung().await, "a person's change");
}

/// How long the lease lasts is not known then. The lead of one that lives costs it its epoch, and nothing else.
#[tokio::test]
async fn a_lead_is_free_where_the_clock_has_gone_back_behind_it() {
    let server = RedisServer::start().await;
    let at = async |hour: u64| {
        let clock = ManualClock::starting_at(Millis::new(hour * 3_600_000));
        let config = RedisConfig::new(server.url()).clock(Clock::Manual(clock));
        RedisBroker::connect(&config).await.unwrap()
    };
    let (before, after) = (at(9).await, at(8).await);
    let [dead, next, third] = [(); 3].map(|()| BeatId::random());
    let epoch = hold(&before, dead).await.epoch;
    assert_eq!(after.leader().await.unwrap().unwrap().ends_in, ms(0));
    assert!(epoch < hold(&after, next).await.epoch);
    let stands_by = after.lead(third, LEASE, at_most(1)).await.unwrap();
    assert!(matches!(stands_by, Lead::Standby(_)), "{stands_by:?}");
    assert_eq!(after.leader().await.unwrap().unwrap().ends_in, LEASE);
}
