//! Connections that break, fall silent or are refused.

use crate::common::{at_most, claim, connect, done, mail, send, soon, worker};
use bytes::Bytes;
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{
    Awaited, Broker, BrokerError, Inspect, Membership, Outcome, Results, Settlement, Verdict, ms,
    secs,
};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

#[tokio::test]
async fn killed_connections_are_made_anew() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    let sent = send(&broker, 1).await;
    let waiting = {
        let (broker, id) = (broker.clone(), sent[0]);
        tokio::spawn(async move { broker.outcome(&mail(), id, crate::common::LIMIT).await })
    };
    let idle = {
        let broker = broker.clone();
        let empty = lovage_core::QueueName::parse("empty").unwrap();
        tokio::spawn(async move { broker.wait(&empty, crate::common::LIMIT).await })
    };
    for kind in ["normal", "pubsub"] {
        until(&server, kind).await;
        server
            .cli::<i64>(&["CLIENT", "KILL", "TYPE", kind])
            .await
            .unwrap();
    }
    // The wait that was cut says so, or was never noticed.
    soon("end of the cut wait", idle).await.unwrap().ok();

    let held = soon("claim", async {
        loop {
            if let Ok(claim) = broker.claim(worker, &mail(), at_most(1)).await {
                break crate::common::granted(claim).deliveries;
            }
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    let verdict = Settlement {
        verdict: Verdict::Done {
            outcome: Outcome::Done(Bytes::from_static(b"\x05")),
            keep: None,
        },
        ..done(&held[0])
    };
    // Known again, so that the push arrives whatever of the subscription's new beginning was seen.
    until(&server, "pubsub").await;
    broker.settle(worker, &mail(), vec![verdict]).await.unwrap();
    let outcome = soon("outcome", waiting).await.unwrap().unwrap();
    assert!(
        matches!(outcome, Awaited::Outcome(_) | Awaited::Unknown),
        "{outcome:?}"
    );
}

/// Waits until a connection of this kind is there.
async fn until(server: &RedisServer, kind: &str) {
    soon("connection", async {
        loop {
            let list: String = server.cli(&["CLIENT", "LIST", "TYPE", kind]).await.unwrap();
            if !list.trim().is_empty() {
                break;
            }
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_call() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    for _ in 0..5 {
        server
            .cli::<i64>(&["CLIENT", "KILL", "TYPE", "normal"])
            .await
            .unwrap();
        // The close is seen by the connection's own task once it runs.
        tokio::time::sleep(ms(20)).await;
        broker.counts(&mail()).await.unwrap();
    }
}

#[tokio::test]
async fn a_half_open_connection_is_replaced() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let config = RedisConfig::new(proxy.url()).response_timeout(ms(200));
    let broker = RedisBroker::connect(&config).await.unwrap();
    let worker = worker(&broker).await;

    proxy.set(Fault::Swallow);
    let silent = broker.claim(worker, &mail(), at_most(1)).await;
    assert!(matches!(silent, Err(BrokerError::Unknown(_))), "{silent:?}");
    // Connections of before stay silent for ever; only a new one works.
    proxy.set(Fault::Pass);
    soon("answer", async {
        while broker.claim(worker, &mail(), at_most(1)).await.is_err() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_half_open_connection_is_replaced_where_all_callers_give_up() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let config = RedisConfig::new(proxy.url()).response_timeout(secs(1));
    let broker = RedisBroker::connect(&config).await.unwrap();
    let answers = async || {
        let mail = mail();
        let counts = broker.counts(&mail);
        matches!(tokio::time::timeout(ms(200), counts).await, Ok(Ok(_)))
    };
    proxy.set(Fault::Swallow);
    assert!(!answers().await);
    proxy.set(Fault::Pass);
    soon("answer", async { while !answers().await {} }).await;
}

#[tokio::test]
async fn a_lost_reply_is_unknown_and_the_claim_shows_in_the_holdings() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(&server).await;
    let config = RedisConfig::new(proxy.url()).response_timeout(ms(200));
    let broker = RedisBroker::connect(&config).await.unwrap();
    let worker = worker(&broker).await;
    // Loads the script: else the lost reply would be that it is not there.
    claim(&broker, worker, 1).await;
    let sent = send(&broker, 1).await;

    proxy.set(Fault::DropReplies);
    let lost = broker.claim(worker, &mail(), at_most(1)).await;
    assert!(matches!(lost, Err(BrokerError::Unknown(_))), "{lost:?}");
    proxy.set(Fault::Pass);
    let holdings = soon("holdings", async {
        loop {
            if let Ok(holdings) = broker.holdings(worker, &mail()).await {
                break holdings;
            }
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    assert_eq!(holdings[0].0, sent[0]);
}

#[tokio::test]
async fn an_absent_redis_refuses_and_its_return_is_noticed() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    server.kill9();
    // The first call may meet the connection before its end is seen.
    broker.counts(&mail()).await.ok();
    let refused = broker.counts(&mail()).await;
    assert!(
        matches!(refused, Err(BrokerError::Refused(_))),
        "{refused:?}"
    );
    server.restart().await;
    soon("answer", async {
        while broker.counts(&mail()).await.is_err() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_wait_outlives_a_restart_of_redis() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let idle = {
        let broker = broker.clone();
        tokio::spawn(async move {
            // As a worker does: an error is no reason to end.
            while broker
                .counts(&mail())
                .await
                .map_or(0, |counts| counts.ready)
                == 0
            {
                if broker.wait(&mail(), secs(5)).await.is_err() {
                    tokio::time::sleep(ms(10)).await;
                }
            }
        })
    };
    server.restart().await;
    let other = connect(&server).await;
    send(&other, 1).await;
    soon("wake-up", idle).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_loses_no_ring() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    send(&broker, 1).await;
    let held = claim(&broker, worker, 1).await;
    let bell = "{lovage:mail}:bell";
    server.cli::<()>(&["DEL", bell]).await.unwrap();
    // The listener stays in its block when its only waiter has gone.
    let waited = tokio::spawn({
        let broker = broker.clone();
        async move { broker.wait(&mail(), crate::common::LIMIT).await }
    });
    soon("block", async {
        let blocked = || async {
            let info: String = server.cli(&["INFO", "clients"]).await.unwrap();
            info.contains("blocked_clients:1")
        };
        while !blocked().await {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    waited.abort();
    assert!(waited.await.unwrap_err().is_cancelled());
    server
        .cli::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();

    let release = Settlement {
        verdict: Verdict::Release,
        ..done(&held[0])
    };
    broker.settle(worker, &mail(), vec![release]).await.unwrap();
    // The blocked listener takes the ring before anybody can look, and puts it back.
    soon("ring", async {
        while server.cli::<u64>(&["ZCARD", bell]).await.unwrap() == 0 {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_misconfigured() {
    let server = RedisServer::builder()
        .arg("requirepass", "right")
        .start()
        .await;
    RedisBroker::connect(&RedisConfig::new(server.url()))
        .await
        .unwrap();
    for url in [
        server.url().replace("right", "wrong"),
        server.url().replace(":right@", ""),
    ] {
        let refused = RedisBroker::connect(&RedisConfig::new(url)).await.err();
        assert!(
            matches!(refused, Some(ConnectError::Misconfigured(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn tls_to_a_port_without_tls_is_an_error() {
    let server = RedisServer::start().await;
    let url = server.url().replace("redis://", "rediss://");
    let config = RedisConfig::new(url).connect_timeout(ms(500));
    assert!(matches!(
        RedisBroker::connect(&config).await.err(),
        Some(ConnectError::Unreachable(_) | ConnectError::Misconfigured(_))
    ));
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let server = RedisServer::builder()
        .arg("unixsocket", "redis.sock")
        .start()
        .await;
    let socket = server.folder().join("redis.sock");
    let url = format!("unix:{}", socket.display());
    let broker = RedisBroker::connect(&RedisConfig::new(url)).await.unwrap();
    send(&broker, 1).await;
}

#[tokio::test]
async fn settle_and_claim_travel_as_one_write() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let worker = worker(&broker).await;
    send(&broker, 100).await;
    let mut held = claim(&broker, worker, 1).await;
    let before = reads(&server).await;
    for _ in 0..50 {
        let verdicts = held.iter().map(done).collect();
        let mail = mail();
        let (settled, claimed) = tokio::join!(
            broker.settle(worker, &mail, verdicts),
            broker.claim(worker, &mail, at_most(1))
        );
        settled.unwrap();
        held = crate::common::granted(claimed.unwrap()).deliveries;
    }
    let reads = reads(&server).await - before;
    // One read a pair. Looking costs a few more, and the two scripts are loaded by text once.
    assert!(reads < 75, "{reads} reads for 50 pairs");
}

async fn reads(server: &RedisServer) -> u64 {
    let info: String = server.cli(&["INFO", "stats"]).await.unwrap();
    info.lines()
        .find_map(|line| line.strip_prefix("total_reads_processed:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_separate_handle_has_connections_of_its_own() {
    let server = RedisServer::start().await;
    let broker = connect(&server).await;
    let separate = broker.separate().await.unwrap();
    let clients: String = server.cli(&["CLIENT", "LIST"]).await.unwrap();
    // One each, and the one that asks.
    assert_eq!(clients.lines().count(), 3, "{clients}");
    separate.counts(&mail()).await.unwrap();
}
