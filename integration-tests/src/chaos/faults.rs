//! One fault at a time, chosen at random, brought about and healed; two at once now and then.

use std::time::Duration;

use anyhow::Result;
use lovage_core::{Clock, ms, secs};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

use super::Options;
use super::crew::Crew;
use super::failovers;
use super::grounds::{Grounds, Single};
use super::windows::{What, Windows};

/// How long a connection that lost bytes without a sign can go unnoticed: the wait for an answer, and the connecting.
const UNNOTICED_MAX: Duration = secs(8);

/// Brings about one fault, waits, and heals it.
pub(crate) async fn strike(
    random: &mut fastrand::Rng,
    grounds: &Grounds,
    crew: &mut Crew,
    windows: &Windows,
    options: &Options,
) -> Result<()> {
    crew.all_alive()?;
    let slot = random.usize(..crew.len());
    match random.u32(..100) {
        0..35 => crew.kill(slot, windows),
        35..42 => crew.stop(slot, windows).await?,
        42..52 => freeze(random, crew, slot, windows, options).await,
        _ => match grounds {
            Grounds::Single(single) => {
                strike_single(random, single, slot, crew, windows, options).await;
            }
            Grounds::Sentinel(sentinels) => {
                failovers::strike_sentinels(random, sentinels, windows, options).await;
            }
            Grounds::Cluster(cluster, slots) => {
                let slot = slots[random.usize(..slots.len())];
                failovers::strike_cluster(random, cluster, slot, windows, options).await;
            }
        },
    }
    Ok(())
}

async fn strike_single(
    random: &mut fastrand::Rng,
    single: &Single,
    slot: usize,
    crew: &mut Crew,
    windows: &Windows,
    options: &Options,
) {
    match random.u32(..48) {
        0..18 => {
            let (what, fault) = network_fault(random);
            let pids = vec![crew.pid(slot)];
            let span = span(random, options.lease * 2);
            hurt(what, fault, &single.workers[slot], span, pids, windows).await;
        }
        18..33 => {
            let (_, fault) = network_fault(random);
            let span = span(random, secs(2));
            hurt(
                What::Producer,
                fault,
                &single.producer,
                span,
                vec![],
                windows,
            )
            .await;
        }
        33..39 => {
            // A worker may die while Redis is away as well.
            if random.bool() {
                crew.kill(slot, windows);
            }
            restart(random, &single.redis, windows).await;
        }
        39..43 => stall(random, &single.redis, windows, options.lease * 2).await,
        _ => nuisance(random, &single.redis, windows).await,
    }
}

/// At random up to `longest`; a quarter of them short.
pub(super) fn span(random: &mut fastrand::Rng, longest: Duration) -> Duration {
    let part = if random.u32(..4) == 0 { 0.1 } else { 1.0 };
    longest.mul_f64(random.f64() * part)
}

async fn freeze(
    random: &mut fastrand::Rng,
    crew: &Crew,
    slot: usize,
    windows: &Windows,
    options: &Options,
) {
    let (process, from) = (crew.process(slot), Clock::System.now());
    process.freeze();
    tokio::time::sleep(span(random, options.lease * 3)).await;
    process.thaw();
    windows.note(What::Freeze, from, secs(0), Some(vec![process.pid()]));
}

fn network_fault(random: &mut fastrand::Rng) -> (What, Option<Fault>) {
    match random.u32(..7) {
        0 | 1 => (What::Cut, None),
        2 => (What::Cut, Some(Fault::CutAfter(random.usize(..4096)))),
        3 => (What::Cut, Some(Fault::Refuse)),
        4 => (What::Silence, Some(Fault::Stall)),
        5 => (What::Silence, Some(Fault::HoldReplies)),
        _ => {
            let fault = [Fault::Swallow, Fault::DropReplies];
            (What::Silence, Some(fault[random.usize(..2)]))
        }
    }
}

/// Sets a fault of a proxy for a while; none resets its connections.
async fn hurt(
    what: What,
    fault: Option<Fault>,
    proxy: &FaultProxy,
    span: Duration,
    pids: Vec<u32>,
    windows: &Windows,
) {
    let from = Clock::System.now();
    let aftermath = match fault {
        None => {
            proxy.reset_all();
            ms(0)
        }
        Some(fault) => {
            proxy.set(fault);
            tokio::time::sleep(span).await;
            if fault == Fault::Refuse {
                proxy.reset_all();
            }
            proxy.set(Fault::Pass);
            match fault {
                Fault::Swallow | Fault::DropReplies => UNNOTICED_MAX,
                _ => ms(0),
            }
        }
    };
    windows.note(what, from, aftermath, Some(pids));
}

async fn restart(random: &mut fastrand::Rng, redis: &RedisServer, windows: &Windows) {
    let from = Clock::System.now();
    redis.kill9();
    tokio::time::sleep(span(random, secs(2))).await;
    redis.restart().await;
    windows.note(What::Restart, from, ms(0), None);
}

pub(super) async fn stall(
    random: &mut fastrand::Rng,
    redis: &RedisServer,
    windows: &Windows,
    longest: Duration,
) {
    let from = Clock::System.now();
    redis.pause();
    tokio::time::sleep(span(random, longest)).await;
    redis.resume();
    windows.note(What::Stall, from, ms(0), None);
}

pub(super) async fn nuisance(random: &mut fastrand::Rng, redis: &RedisServer, windows: &Windows) {
    let from = Clock::System.now();
    let words: &[&str] = if random.bool() {
        &["SCRIPT", "FLUSH"]
    } else {
        &["CLIENT", "KILL", "TYPE", "normal"]
    };
    // The second closes the connection that it comes on, perhaps before the answer.
    let _ = redis.cli::<redis::Value>(words).await;
    windows.note(What::Nuisance, from, ms(0), None);
}
