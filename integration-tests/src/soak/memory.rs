//! How much memory each process has, and how many keys Redis.

use std::collections::HashMap;
use std::time::Duration;
use std::{fmt, fs};

use anyhow::{Context as _, Result, ensure};
use lovage_core::{hours, ms};

use crate::process::Process;
use crate::stage::Stage;

const KEYS_SHOWN: &str = "20";
const RUN_OUT: &str = r"
local page = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
for _, key in ipairs(page[2]) do
  if 0 < redis.call('PTTL', key) then redis.call('PEXPIRE', key, 1) end
end
return page[1]
";
/// How many keys of a page run out by themselves, and when the last of them does, in ms.
const PASSING: &str = r"
local page = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
local passing, longest = 0, 0
for _, key in ipairs(page[2]) do
  local left = redis.call('PTTL', key)
  if 0 < left then passing, longest = passing + 1, math.max(longest, left) end
end
return {page[1], passing, longest}
";
/// The outcomes of cancelled tasks are kept so long, and nothing longer.
const KEPT_MAX: Duration = hours(1);
/// Of so many sends at most one leaves a key that is kept for a while: those that are cancelled, or dead and then taken away.
const SENDS_PER_KEY: u64 = 5;
/// And so many more, of all that is kept for some seconds.
const KEPT_SHORT: u64 = 5_000;

/// One look at all of them.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Resident memory of the processes, in KiB: two workers and a beat.
    pub resident_kib: Vec<u64>,
    /// Memory that Redis has handed out, in KiB.
    pub redis_kib: u64,
    /// Keys in Redis that stay.
    pub keys: u64,
    /// Keys in Redis that run out by themselves.
    pub passing: u64,
}

impl Sample {
    pub(crate) const HEADINGS: &str =
        "worker KiB  worker KiB    beat KiB   Redis KiB    keys  passing";

    pub(crate) async fn take(stage: &Stage, processes: &[Process]) -> Result<Self> {
        let memory = stage.redis.info("memory").await;
        let used: u64 = memory
            .get("used_memory")
            .context("Redis says how much memory it uses")?
            .parse()?;
        let passing = passing(&stage.redis.info("keyspace").await);
        let all: u64 = stage.redis.cli(&["DBSIZE"]).await?;
        Ok(Self {
            resident_kib: processes.iter().map(resident_kib).collect::<Result<_>>()?,
            redis_kib: used / 1024,
            keys: all.saturating_sub(passing),
            passing,
        })
    }
}

/// From `db0:keys=5,expires=2,avg_ttl=0`.
fn passing(keyspace: &HashMap<String, String>) -> u64 {
    let fields = keyspace.get("db0").map_or("", String::as_str);
    let expires = fields
        .split(',')
        .find_map(|field| field.strip_prefix("expires="));
    expires
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Checks that what stays for a while is not more, and does not stay longer, than this load makes it.
pub(crate) async fn check_passing(stage: &Stage, sent: u64) -> Result<()> {
    let (mut cursor, mut passing, mut longest) = ("0".to_owned(), 0, 0);
    loop {
        let page: (String, u64, u64) = stage.redis.cli(&["EVAL", PASSING, "0", &cursor]).await?;
        passing += page.1;
        longest = longest.max(page.2);
        cursor = page.0;
        if cursor == "0" {
            break;
        }
    }
    ensure!(
        ms(longest) <= KEPT_MAX,
        "a key stays for {:?}, and nothing here is kept longer than {KEPT_MAX:?}",
        ms(longest)
    );
    let passing_max = sent / SENDS_PER_KEY + KEPT_SHORT;
    ensure!(
        passing <= passing_max,
        "{passing} keys stay for a while, and {sent} sends leave {passing_max} at most"
    );
    Ok(())
}

/// Lets what runs out by itself run out now: the outcomes of cancelled tasks are kept for an hour.
pub(crate) async fn let_run_out(stage: &Stage) -> Result<()> {
    let mut cursor = "0".to_owned();
    loop {
        cursor = stage.redis.cli(&["EVAL", RUN_OUT, "0", &cursor]).await?;
        if cursor == "0" {
            return Ok(());
        }
    }
}

fn resident_kib(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("Linux says how much memory is resident")?;
    let number = line.trim().trim_end_matches("kB").trim();
    Ok(number.parse()?)
}

/// Some of the keys that are there, for whoever looks for what was left.
pub(crate) async fn some_keys(stage: &Stage) -> Result<Vec<String>> {
    let (_, keys): (u64, Vec<Vec<u8>>) =
        stage.redis.cli(&["SCAN", "0", "COUNT", KEYS_SHOWN]).await?;
    let texts = keys
        .iter()
        .map(|key| String::from_utf8_lossy(key).into_owned());
    Ok(texts.collect())
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kib in &self.resident_kib {
            write!(f, "{kib:>10}  ")?;
        }
        write!(
            f,
            "{:>10}  {:>6}  {:>7}",
            self.redis_kib, self.keys, self.passing
        )
    }
}
