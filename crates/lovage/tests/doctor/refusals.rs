//! A server that takes no writes is looked at all the same.

use lovage::SendError;
use lovage::doctor::FindingKind as Kind;
use lovage::prelude::*;

use crate::{add, client, examine, kinds, repair, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_looked_at_and_not_repaired() {
    let server = server().await;
    let client = client(&server).await;
    client.send(add(1, 2)).await.unwrap();
    let stray = [
        "HSET",
        "{lovage:default}:facts",
        "an id of nothing",
        "1:0:0",
    ];
    server.cli::<()>(&stray).await.unwrap();
    let replicas = |wanted: &'static str| ["CONFIG", "SET", "min-replicas-to-write", wanted];
    server.cli::<()>(&replicas("1")).await.unwrap();

    let hasty = Client::connect(&server.url()).await.unwrap();
    let refused = hasty.send(add(1, 2)).await;
    assert!(matches!(refused, Err(SendError::Refused(_))), "{refused:?}");
    let found = [Kind::StrayNote, Kind::UnusedPlace, Kind::Replication];
    let report = examine(&client).await;
    assert_eq!(kinds(&report), found.into(), "{report}");
    assert_eq!(report.unsure, [""; 0], "{report}");
    let report = repair(&client).await;
    assert_eq!(kinds(&report), found.into(), "{report}");
    assert_eq!((report.repaired, report.unsure.len()), (0, 1), "{report}");
    assert!(report.unsure[0].contains("nothing is repaired"), "{report}");

    server.cli::<()>(&replicas("0")).await.unwrap();
    let repaired = repair(&client).await;
    assert_eq!(
        (repaired.repaired, repaired.is_healthy()),
        (1, true),
        "{repaired}"
    );
    client.send(add(1, 2)).await.unwrap();
}
