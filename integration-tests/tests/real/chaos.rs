//! A bounded run of what `cargo xtask chaos` does for as long as one likes.

use lovage_integration_tests::chaos::{Options, run};

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
