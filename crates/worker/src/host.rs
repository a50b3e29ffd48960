//! Where this process runs, and what it occupies.

use std::env;
use std::fs;

/// The name of the host: what the system says, else what the environment does.
pub(crate) fn name() -> String {
    let system = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = system.or_else(|| env::var("HOSTNAME").ok());
    let named = named.or_else(|| env::var("COMPUTERNAME").ok());
    named.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The memory that this process occupies, in bytes. Linux tells; elsewhere it is not known.
pub(crate) fn rss_bytes() -> Option<u64> {
    // Not `statm`, which counts in pages, whose size nothing here can ask for.
    rss_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn rss_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_occupied_memory_is_read_from_what_linux_says() {
        let status = "Name:\tworker\nVmRSS:\t   12345 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(rss_in(status), Some(12_345 * 1024));
        assert_eq!(rss_in("Name:\tworker\n"), None);
        if cfg!(target_os = "linux") {
            assert!(rss_bytes().is_some_and(|bytes| 1 << 16 < bytes));
        }
    }
}
