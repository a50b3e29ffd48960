//! What the figures were measured on, and what a process has used of it.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// Ticks of `/proc/PID/stat` a second: Linux shows 100 whatever its own timer.
const TICKS_A_SECOND: f64 = 100.0;

/// The machine as the report names it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
    pub(crate) redis: String,
    /// The load average over a minute at the start: above a few tenths, others work here too.
    pub(crate) load: f64,
}

impl Machine {
    /// This machine, with the version that its Redis told.
    pub(crate) fn here(redis: String) -> Self {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory_kib = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            system: format!("{} {}", std::env::consts::OS, release.trim()),
            redis,
            load: load
                .split_whitespace()
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(f64::NAN),
        }
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_mib: f64,
}

impl Usage {
    /// The usage of process `pid`; `None` where the system has no `/proc`, or the process is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in the second field may hold spaces: count from the bracket that ends it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let rss_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()?;
        Some(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_A_SECOND,
            rss_mib: rss_kib / 1024.0,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_its_own_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(0.1 < usage.rss_mib, "{usage:?}");
    }
}
