//! Where this process runs.

use std::env;
use std::fs;

/// The name of the host: what the system says, else what the environment does.
pub(crate) fn name() -> String {
    let system = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = system.or_else(|| env::var("HOSTNAME").ok());
    let named = named.or_else(|| env::var("COMPUTERNAME").ok());
    named.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}
