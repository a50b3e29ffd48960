//! Real worker processes against a real redis-server, under real faults: what `docs/guarantees.md` promises.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod beats;
mod chaos;
mod children;
mod clusters;
mod crashes;
mod cuts;
mod dead_letters;
mod failures;
mod flow;
mod hosts;
mod input;
mod leases;
mod losses;
mod outages;
mod processes;
mod roles;
mod schedule;
mod secrets;
mod sentinels;
mod spool;
mod stops;
mod unique;

use lovage_integration_tests::{Servers, Stage};
use lovage_test_redis::RedisServer;

/// A stage over a server that keeps nothing on disk.
async fn stage() -> Stage {
    stage_over(RedisServer::start().await)
}

/// A stage over `redis`.
fn stage_over<R: Servers>(redis: R) -> Stage<R> {
    Stage::over(
        redis,
        env!("CARGO_BIN_EXE_test-worker"),
        env!("CARGO_BIN_EXE_test-beat"),
    )
}

/// A stage whose worker is another file.
async fn stage_of(worker: &str) -> Stage {
    Stage::over(
        RedisServer::start().await,
        worker,
        env!("CARGO_BIN_EXE_test-beat"),
    )
}
