//! Faults of grounds with more than one server: who has the tasks changes.

use std::time::Duration;

use lovage_core::{Clock, Millis, ms, secs, span_ms};
use lovage_test_redis::{Cluster, RedisServer, Sentinels};

use super::Options;
use super::faults::{nuisance, span, stall};
use super::windows::{What, Windows};

/// Shorter than what makes anybody replace the server.
const STALL_MAX: Duration = ms(1200);
/// How long before its end a primary may have acknowledged what no replica has: replication is a matter of
/// milliseconds, but for a replica that is slow.
const UNREPLICATED_MAX: Duration = secs(1);
/// Keys of a slot that move at once: few, so that both sides have some for a while.
const KEYS_AT_ONCE: usize = 10;

pub(crate) async fn strike_sentinels(
    random: &mut fastrand::Rng,
    sentinels: &Sentinels,
    windows: &Windows,
    options: &Options,
) {
    let (primary, from) = (sentinels.primary().await, Clock::System.now());
    match random.u32(..100) {
        0..30 => {
            sentinels.fail_over().await;
            windows.note(What::HandOver, from, ms(0), None);
        }
        30..60 => {
            primary.kill9();
            sentinels.successor_of(primary).await;
            let lost_since = before(from);
            windows.note(What::FailOver, lost_since, ms(0), None);
            primary.restart().await;
            sentinels.until_all_follow().await;
        }
        60..80 => stall(random, primary, windows, STALL_MAX.min(options.lease)).await,
        _ => nuisance(random, primary, windows).await,
    }
}

pub(crate) async fn strike_cluster(
    random: &mut fastrand::Rng,
    cluster: &Cluster,
    slot: u16,
    windows: &Windows,
    options: &Options,
) {
    let (owner, from) = (cluster.owner(slot).await, Clock::System.now());
    match random.u32(..100) {
        0..20 => {
            cluster.fail_over(slot).await;
            windows.note(What::HandOver, from, ms(0), None);
            cluster.until_whole().await;
        }
        20..40 => {
            owner.kill9();
            cluster.successor_of(owner, slot).await;
            let lost_since = before(from);
            windows.note(What::FailOver, lost_since, ms(0), None);
            owner.restart().await;
            cluster.until_whole().await;
        }
        40..75 => {
            reshard(random, cluster, slot, owner).await;
            windows.note(What::Reshard, from, ms(0), None);
        }
        75..90 => stall(random, owner, windows, STALL_MAX.min(options.lease)).await,
        _ => nuisance(random, owner, windows).await,
    }
}

/// Since when writes may be lost with a primary that ends at `end`.
fn before(end: Millis) -> Millis {
    Millis::new(end.get().saturating_sub(span_ms(UNREPLICATED_MAX)))
}

/// Moves the slot to another primary, a few keys at a time.
async fn reshard(random: &mut fastrand::Rng, cluster: &Cluster, slot: u16, owner: &RedisServer) {
    let mut others = Vec::new();
    for node in cluster.nodes() {
        if node.port() != owner.port() && node.is_primary().await {
            others.push(node);
        }
    }
    let moving = cluster
        .begin_move(slot, others[random.usize(..others.len())])
        .await;
    while moving.keys(KEYS_AT_ONCE).await {
        tokio::time::sleep(span(random, ms(50))).await;
    }
    moving.finish().await;
}
