//! How much memory each process has, and how many keys Redis.

use std::collections::HashMap;
use std::{fmt, fs};

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::stage::Stage;

const KEYS_SHOWN: &str = "20";
const RUN_OUT: &str = r"
local page = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
local ended = 0
for _, key in ipairs(page[2]) do
  if 0 < redis.call('PTTL', key) then ended = ended + redis.call('PEXPIRE', key, 1) end
end
return {page[1], ended}
";

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

/// Lets what runs out by itself run out now: the outcomes of cancelled tasks are kept for an hour.
pub(crate) async fn let_run_out(stage: &Stage) -> Result<()> {
    let mut cursor = "0".to_owned();
    loop {
        let (next, _): (String, u64) = stage.redis.cli(&["EVAL", RUN_OUT, "0", &cursor]).await?;
        if next == "0" {
            return Ok(());
        }
        cursor = next;
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
