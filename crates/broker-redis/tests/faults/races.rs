//! Many beats that ask at once.

use std::collections::BTreeMap;
use std::time::Duration;

use lovage_core::{Amended, BeatId, Broker, Lead, Millis, Schedules, Tick, ms};
use lovage_test_redis::RedisServer;

use crate::beats::{amend, outbox, stored, storing};
use crate::common::{at_most, claim, connect, done, mail, soon, worker};

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
