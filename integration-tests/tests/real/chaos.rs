//! A bounded run of what `cargo xtask chaos` does for as long as one likes.

use lovage_core::secs;
use lovage_integration_tests::chaos::{GroundsKind, Options, run};

const TASKS: u64 = 60_000;

/// Nothing is lost, every repeated run has its reason, and no at-most-once task starts twice.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_random_faults() {
    let options = Options::new(env!("CARGO_BIN_EXE_test-worker"), TASKS);
    let findings = run(&options).await.unwrap();
    assert!(0 < findings.accepted, "{findings}");
    assert!(
        !findings.faults.is_empty(),
        "no fault was brought about: {findings}"
    );
}

/// The same of a queue that is spread over several slots.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_partitioned_queue_is_lost_under_random_faults() {
    let options = Options {
        partitions: 4,
        ..Options::new(env!("CARGO_BIN_EXE_test-worker"), TASKS / 2)
    };
    let findings = run(&options).await.unwrap();
    assert!(0 < findings.accepted, "{findings}");
}

/// What a replica has confirmed outlives its primary, however that ends.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_under_random_failovers() {
    check_for_a_while(GroundsKind::Sentinel).await;
}

/// The same in a cluster whose slots move, besides.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_in_a_cluster_under_random_faults() {
    check_for_a_while(GroundsKind::Cluster).await;
}

async fn check_for_a_while(grounds: GroundsKind) {
    let options = Options {
        grounds,
        partitions: 2,
        span_max: secs(15),
        ..Options::new(env!("CARGO_BIN_EXE_test-worker"), u64::MAX)
    };
    let findings = run(&options).await.unwrap();
    assert!(0 < findings.accepted, "{findings}");
    assert!(
        !findings.faults.is_empty(),
        "no fault was brought about: {findings}"
    );
}
