//! TLS: with certificates of one's own, that clients must show, that are wrong, and that are rotated.

use std::path::PathBuf;

use crate::common::{at_most, claim, done, mail, send, soon, worker};
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{
    AccessFiles, Awaited, Broker, Claim, Inspect, Results, TransportError, ms, secs,
};
use lovage_test_redis::{Authority, Certificate, RedisServer};

async fn server(authority: &Authority, certificate: &Certificate, asks: &str) -> RedisServer {
    let builder = RedisServer::builder().tls(certificate, &authority.file(), asks);
    builder.start().await
}

fn files(ca: Option<PathBuf>, own: Option<&Certificate>) -> AccessFiles {
    AccessFiles {
        ca,
        cert: own.map(|own| own.cert.clone()),
        key: own.map(|own| own.key.clone()),
        ..AccessFiles::default()
    }
}

async fn refusal(url: &str, files: AccessFiles) -> TransportError {
    let config = RedisConfig::new(url).files(files).connect_timeout(secs(5));
    match RedisBroker::connect(&config).await.err() {
        Some(ConnectError::Misconfigured(source)) => source,
        other => panic!("{url}: {other:?}"),
    }
}

/// A send, a claim, a wait that is rung, and a result that is pushed: each kind of connection there is.
async fn all_connections_work(broker: &RedisBroker) {
    let worker = worker(broker).await;
    let waiting = tokio::spawn({
        let broker = broker.clone();
        async move {
            loop {
                // Its connection may have been cut.
                broker.wait(&mail(), secs(20)).await.ok();
                let claimed = broker.claim(worker, &mail(), at_most(1)).await.unwrap();
                let Claim::Granted(batch) = claimed else {
                    panic!("the lease is good");
                };
                if let Some(delivery) = batch.deliveries.into_iter().next() {
                    return delivery;
                }
            }
        }
    });
    let id = send(broker, 1).await[0];
    let delivery = soon("ring", waiting).await.unwrap();
    let told = tokio::spawn({
        let broker = broker.clone();
        async move { broker.outcome(&mail(), id, secs(20)).await.unwrap() }
    });
    // Until its name stands with the task.
    soon("name", async {
        while broker.outcome(&mail(), id, ms(0)).await.unwrap() != Awaited::TimedOut {}
    })
    .await;
    let settled = broker.settle(worker, &mail(), vec![done(&delivery)]).await;
    assert_eq!(settled.unwrap().stale, []);
    let told = soon("outcome", told).await.unwrap();
    assert!(
        matches!(told, Awaited::Outcome(_) | Awaited::Unknown),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named() {
    let authority = Authority::new();
    let server = server(&authority, &authority.sign("localhost"), "no").await;
    let config = RedisConfig::new(server.tls_url()).files(files(Some(authority.file()), None));
    let broker = RedisBroker::connect(&config).await.unwrap();
    all_connections_work(&broker).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_the_server_asks_for_it() {
    let authority = Authority::new();
    let server = server(&authority, &authority.sign("localhost"), "yes").await;
    let own = authority.sign("worker");
    let config =
        RedisConfig::new(server.tls_url()).files(files(Some(authority.file()), Some(&own)));
    let broker = RedisBroker::connect(&config).await.unwrap();
    all_connections_work(&broker).await;
}

#[tokio::test]
async fn a_cluster_is_spoken_to_by_tls_at_the_addresses_that_it_announces() {
    let authority = Authority::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bus = free.local_addr().unwrap().port();
    drop(free);
    let builder = RedisServer::builder().tls(&authority.sign("localhost"), &authority.file(), "no");
    let node = builder
        .arg("cluster-enabled", "yes")
        .arg("tls-cluster", "yes")
        .arg("cluster-port", &bus.to_string())
        .arg("cluster-announce-ip", "127.0.0.1")
        .start()
        .await;
    node.cli::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await
        .unwrap();
    let url = node.tls_url().replace("rediss://", "rediss+cluster://");
    let config = RedisConfig::new(url).files(files(Some(authority.file()), None));
    let broker = soon("slots", async {
        loop {
            match RedisBroker::connect(&config).await {
                Ok(broker) if broker.counts(&mail()).await.is_ok() => return broker,
                Err(error @ ConnectError::Misconfigured(_)) => panic!("{error}"),
                _ => tokio::time::sleep(ms(20)).await,
            }
        }
    })
    .await;
    all_connections_work(&broker).await;
}

#[tokio::test]
async fn each_trouble_with_certificates_is_told_with_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = server(&authority, &authority.sign("localhost"), "yes").await;
    let own = authority.sign("worker");
    let foreign = other.sign("worker");
    let known = || Some(authority.file());
    let elsewhere = server(&authority, &authority.sign("redis.example"), "no").await;
    let expired = server(&authority, &authority.sign_expired("localhost"), "no").await;
    let missing = Some(authority.folder().join("missing.pem"));
    let no_pem = Some(own.key.with_extension("txt"));
    std::fs::write(no_pem.as_ref().unwrap(), "rubbish").unwrap();
    let plain = good.url();
    let half = AccessFiles {
        key: None,
        ..files(known(), Some(&own))
    };
    let mixed = AccessFiles {
        key: Some(foreign.key.clone()),
        ..files(known(), Some(&own))
    };
    for (url, files, part) in [
        (
            good.tls_url(),
            files(None, Some(&own)),
            "name the file of its authority",
        ),
        (
            good.tls_url(),
            files(Some(other.file()), Some(&own)),
            "name the file of its authority",
        ),
        (
            good.tls_url(),
            files(known(), None),
            "asks for a client certificate",
        ),
        (
            good.tls_url(),
            files(known(), Some(&foreign)),
            "does not accept the client certificate",
        ),
        (
            elsewhere.tls_url(),
            files(known(), None),
            "use a host name in the URL",
        ),
        (
            expired.tls_url(),
            files(known(), None),
            "renew the server's certificate",
        ),
        (
            good.tls_url(),
            files(missing, None),
            "missing.pem cannot be read",
        ),
        (good.tls_url(), files(no_pem, None), "is no PEM"),
        (good.tls_url(), half, "needs its key"),
        (good.tls_url(), mixed, "do not belong together"),
        (plain, files(known(), None), "use rediss"),
        (
            format!("{}/#insecure", good.tls_url()),
            files(known(), None),
            "insecure",
        ),
    ] {
        let refusal = refusal(&url, files).await.to_string();
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
}

#[tokio::test]
async fn the_wrong_kind_of_port_is_told_with_the_right_kind_of_url() {
    let authority = Authority::new();
    let server = server(&authority, &authority.sign("localhost"), "no").await;
    let tls = server.tls_url();
    for (url, part) in [
        (tls.replace("rediss://", "redis://"), "rediss"),
        (server.url().replace("redis://", "rediss://"), "without TLS"),
    ] {
        let config = RedisConfig::new(url).connect_timeout(secs(1));
        let refused = RedisBroker::connect(&config).await.err();
        let told = refused.map(|error| error.to_string()).unwrap();
        assert!(
            told.contains(part) || told.contains("does not speak TLS"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn rotated_certificates_count_from_the_next_connection_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = server(&old, &old.sign("localhost"), "yes").await;
    let folder = old.folder();
    let own = Certificate {
        cert: folder.join("own.pem"),
        key: folder.join("own.key"),
    };
    let ca = folder.join("trusted.pem");
    let give = |authority: &Authority| {
        let signed = authority.sign("worker");
        std::fs::copy(&signed.cert, &own.cert).unwrap();
        std::fs::copy(&signed.key, &own.key).unwrap();
        std::fs::copy(authority.file(), &ca).unwrap();
    };
    give(&old);
    let config = RedisConfig::new(server.tls_url()).files(files(Some(ca.clone()), Some(&own)));
    let broker = RedisBroker::connect(&config).await.unwrap();
    all_connections_work(&broker).await;

    let signed = new.sign("localhost");
    let rotated = [
        "CONFIG".to_owned(),
        "SET".to_owned(),
        "tls-cert-file".to_owned(),
        signed.cert.display().to_string(),
        "tls-key-file".to_owned(),
        signed.key.display().to_string(),
        "tls-ca-cert-file".to_owned(),
        new.file().display().to_string(),
    ];
    server.cli::<()>(&rotated).await.unwrap();
    let kill = ["CLIENT", "KILL", "SKIPME", "yes"];
    server.cli::<i64>(&kill).await.unwrap();
    soon("refusal", async {
        while broker.counts(&mail()).await.is_ok() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    give(&new);
    soon("answer", async {
        while broker.counts(&mail()).await.is_err() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    let worker = worker(&broker).await;
    claim(&broker, worker, 1).await;
    all_connections_work(&broker).await;
}
