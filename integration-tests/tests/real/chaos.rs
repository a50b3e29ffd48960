//! A bounded run of what `cargo xtask chaos` does for as long as one likes.

use lovage_core::secs;
use lovage_integration_tests::chaos::{Findings, GroundsKind, Options, run};

const TASKS: u64 = 60_000;

/// Nothing is lost, every repeated run has its reason, and no at-most-once task starts twice.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_random_faults() {
    let findings = check(GroundsKind::Single, 1, TASKS).await;
    for kind in [
        "quick", "once", "keyed", "unique", "doomed", "child", "long",
    ] {
        assert!(findings.ended.contains_key(kind), "no {kind}: {findings}");
    }
    assert_ne!(findings.repeated.len(), 0, "no fault hit a run: {findings}");
    assert_ne!(findings.called_back, 0, "{findings}");
    assert_ne!(findings.merged, 0, "{findings}");
}

/// The same of a queue that is spread over several slots.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_partitioned_queue_is_lost_under_random_faults() {
    check(GroundsKind::Single, 4, TASKS / 2).await;
}

/// What a replica has confirmed outlives its primary, however that ends.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_under_random_failovers() {
    check(GroundsKind::Sentinel, 2, u64::MAX).await;
}

/// The same in a cluster whose slots move, besides.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_in_a_cluster_under_random_faults() {
    check(GroundsKind::Cluster, 2, u64::MAX).await;
}

/// Bounded in time as well: a busy host sends fewer.
async fn check(grounds: GroundsKind, partitions: u64, tasks_max: u64) -> Findings {
    let options = Options {
        grounds,
        partitions,
        span_max: secs(15),
        ..Options::new(env!("CARGO_BIN_EXE_test-worker"), tasks_max)
    };
    let findings = run(&options).await.unwrap();
    assert_ne!(findings.accepted, 0, "{findings}");
    assert_ne!(findings.acknowledged, 0, "{findings}");
    assert_ne!(
        findings.faults.len(),
        0,
        "no fault was brought about: {findings}"
    );
    findings
}
