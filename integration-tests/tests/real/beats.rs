//! Beats that are killed, frozen, stopped and misled about the time.

use std::time::{Duration, Instant};

use lovage_core::{ms, secs};
use lovage_integration_tests::{Choir, eventually};
use lovage_test_redis::{Fault, FaultProxy, RedisServer};

use crate::{stage, stage_over};

/// Schedules of a second, and as many of a tenth of one.
const EACH: usize = 25;
const BEATS: usize = 3;
/// How often a leader is killed or frozen, unless `LOVAGE_STRIKES` says otherwise.
const STRIKES: u64 = 50;
/// Short, so that many changes of the lead fit into a test; `LOVAGE_BEAT_LEASE_MS` is for those who have the time.
const LEASE_MS: u64 = 600;
const LEASE: Duration = ms(LEASE_MS);

fn setting(variable: &str, unless: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(unless, |text| text.parse().expect("a number"))
}

/// Every occurrence counts, however late.
const ALL: &str = "misfire = \"all\"";

#[tokio::test]
async fn each_occurrence_fires_one_task() {
    // What Redis has acknowledged is kept, also where it is killed.
    let redis = RedisServer::builder().appendonly("always").start().await;
    let stage = stage_over(redis);
    let _workers = [stage.worker().spawn(), stage.worker().spawn()];
    let lease = ms(setting("LOVAGE_BEAT_LEASE_MS", LEASE_MS));
    let strikes = usize::try_from(setting("LOVAGE_STRIKES", STRIKES)).expect("a small number");
    let mut choir = Choir::of(&stage, EACH, lease, ALL).await;
    for _ in 0..BEATS {
        choir.join(&stage);
    }
    let mut vacancies = Vec::new();
    let mut epoch = 0;
    for strike in 0..strikes {
        let (place, leader) = choir.leader(epoch).await;
        tokio::time::sleep(ms(fastrand::u64(0..300))).await;
        let struck = Instant::now();
        if fastrand::bool() {
            choir.beats.swap_remove(place).kill9();
            choir.leader(leader.epoch).await;
            vacancies.push(struck.elapsed());
            choir.join(&stage);
        } else {
            choir.beats[place].freeze();
            choir.leader(leader.epoch).await;
            vacancies.push(struck.elapsed());
            choir.beats[place].thaw();
        }
        if strike % 20 == 10 {
            stage.redis.kill9();
            stage.redis.restart().await;
        }
        epoch = leader.epoch;
    }
    let tally = choir.each_occurrence_ran_once(&stage).await;
    vacancies.sort_unstable();
    println!(
        "{} occurrences, each one task; lead vacant after {strikes} strikes, lease {lease:?}: median {:?}, longest {:?}",
        tally.occurrences,
        vacancies[strikes / 2],
        vacancies[strikes - 1],
    );
    for beat in &mut choir.beats {
        assert_eq!(beat.ended(), None, "no beat ended by itself");
    }
}

#[tokio::test]
async fn a_stopped_beat_hands_over_at_once() {
    let stage = stage().await;
    let _worker = stage.worker().spawn();
    // Whoever waits for the lease to end waits longer than this test.
    let mut choir = Choir::of(&stage, 2, secs(600), ALL).await;
    for _ in 0..BEATS {
        choir.join(&stage);
    }
    let mut epoch = 0;
    while 1 < choir.beats.len() {
        let (place, leader) = choir.leader(epoch).await;
        epoch = leader.epoch;
        let before = stage.journal.all_starts().len();
        eventually("it fires", async || {
            (before + 20 < stage.journal.all_starts().len()).then_some(())
        })
        .await;
        let mut stopped = choir.beats.swap_remove(place);
        stopped.terminate();
        assert!(stopped.end().await.success());
    }
    choir.leader(epoch).await;
    choir.each_occurrence_ran_once(&stage).await;
}

/// Only Redis's clock has a say.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn beats_with_wrong_clocks_fire_each_occurrence_once() {
    let stage = stage().await;
    let _workers = [stage.worker().spawn(), stage.worker().spawn()];
    let mut choir = Choir::of(&stage, 5, LEASE, ALL).await;
    let misled = |clock: &str| {
        choir
            .beat(&stage)
            .variable("LD_PRELOAD", &libfaketime())
            .variable("FAKETIME", clock)
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let (ahead, behind) = (misled("+1h"), misled("-1h"));
    choir.beats.push(ahead.spawn());
    choir.beats.push(behind.spawn());
    let mut epoch = 0;
    for _ in 0..8 {
        let (place, leader) = choir.leader(epoch).await;
        epoch = leader.epoch;
        let log = choir.beats[place].log();
        let builder = if off_by_an_hour(&log) {
            &ahead
        } else {
            &behind
        };
        choir.beats.swap_remove(place).kill9();
        choir.beats.push(builder.spawn());
    }
    choir.each_occurrence_ran_once(&stage).await;
}

/// Whether the clock of the process that wrote this log is an hour ahead; holds that it is an hour behind where not.
#[cfg(target_os = "linux")]
fn off_by_an_hour(log: &str) -> bool {
    let (_, stamp) = log.split_once("\"timestamp\":\"").expect("it logs JSON");
    let (stamp, _) = stamp.split_once('"').expect("a text ends");
    let stamp: jiff::Timestamp = stamp.parse().expect("an instant");
    let off = stamp.duration_since(jiff::Timestamp::now()).as_secs();
    assert!(
        1_800 < off.abs() && off.abs() < 5_400,
        "the clock is not off: {off} s"
    );
    0 < off
}

/// The library that makes a program see another time.
#[cfg(target_os = "linux")]
fn libfaketime() -> String {
    let roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let folders = roots.iter().flat_map(|root| {
        let inner = std::fs::read_dir(root).into_iter().flatten().flatten();
        inner.map(|entry| entry.path()).chain([root.into()])
    });
    let found = folders
        .flat_map(|folder| [folder.join("faketime"), folder])
        .map(|folder| folder.join("libfaketimeMT.so.1"))
        .find(|path| path.is_file());
    let path = found.expect("libfaketime is not installed: run `cargo xtask setup`");
    path.to_str().expect("a plain path").to_owned()
}

/// Requests that take effect and answers that are lost, halves of answers, silence and refusals, on the connections of all
/// beats at once.
#[tokio::test]
async fn beats_behind_broken_connections_fire_each_occurrence_once() {
    const FAULTS: usize = 60;
    let stage = stage().await;
    let _workers = [stage.worker().spawn(), stage.worker().spawn()];
    let proxy = FaultProxy::start(&stage.redis).await;
    let mut choir = Choir::of(&stage, 5, LEASE, ALL).await;
    for _ in 0..2 {
        choir
            .beats
            .push(choir.beat(&stage).broker(&proxy.url()).spawn());
    }
    choir.leader(0).await;
    for _ in 0..FAULTS {
        let fault = match fastrand::u8(0..7) {
            0 => Fault::Stall,
            1 => Fault::HoldReplies,
            2 => Fault::DropReplies,
            3 => Fault::Swallow,
            4 => Fault::Refuse,
            _ => Fault::CutAfter(fastrand::usize(0..6_000)),
        };
        proxy.set(fault);
        tokio::time::sleep(ms(fastrand::u64(0..250))).await;
        proxy.set(Fault::Pass);
        if fastrand::bool() {
            proxy.reset_all();
        }
        tokio::time::sleep(ms(fastrand::u64(0..250))).await;
    }
    choir.each_occurrence_ran_once(&stage).await;
    for beat in &mut choir.beats {
        assert_eq!(beat.ended(), None, "no beat ended by itself");
    }
}

#[tokio::test]
async fn a_beat_survives_any_outage_of_redis() {
    let redis = RedisServer::builder().appendonly("always").start().await;
    let stage = stage_over(redis);
    let _worker = stage.worker().spawn();
    let mut choir = Choir::of(&stage, 3, LEASE, ALL).await;
    choir.join(&stage);
    choir.join(&stage);
    let (_, leader) = choir.leader(0).await;
    let words: &[&[&str]] = &[
        &["SCRIPT", "FLUSH"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "PAUSE", "1500"],
        &["HSET", "{lovage}:records", "every-1000-0", "rubbish"],
        &["ZADD", "{lovage}:wakes", "1", "nothing-at-all"],
        &["RENAME", "{lovage}:wakes", "elsewhere"],
        &["SET", "{lovage}:wakes", "a text"],
        &["DEL", "{lovage}:wakes"],
        &["RENAME", "elsewhere", "{lovage}:wakes"],
    ];
    for words in words {
        let _: Result<redis::Value, _> = stage.redis.cli(words).await;
        tokio::time::sleep(ms(300)).await;
    }
    stage.redis.kill9();
    stage.redis.restart().await;
    stage.redis.pause();
    tokio::time::sleep(2 * LEASE).await;
    stage.redis.resume();
    // All but the one whose record is rubbish go on.
    eventually("schedules fire again", async || {
        let before = stage.journal.all_starts().len();
        tokio::time::sleep(ms(500)).await;
        (before + 10 < stage.journal.all_starts().len()).then_some(())
    })
    .await;
    for beat in &mut choir.beats {
        assert_eq!(beat.ended(), None, "first led: {leader:?}");
    }
    for (id, entries) in stage.journal.all_starts() {
        assert_eq!(entries.len(), 1, "{id}");
    }
}
