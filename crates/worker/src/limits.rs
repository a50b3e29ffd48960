//! What this process has of memory, as Linux tells it.

/// A line of numbers, in pages: size, resident, shared, text, lib, data, dirty.
const STATM: &str = "/proc/self/statm";

/// The memory in bytes that is private to this process and can be written: what `RLIMIT_DATA` limits.
#[cfg(unix)]
pub(crate) fn data_bytes() -> Option<u64> {
    statm(5)
}

#[cfg(unix)]
fn statm(place: usize) -> Option<u64> {
    let text = std::fs::read_to_string(STATM).ok()?;
    let pages: u64 = text.split_whitespace().nth(place)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}
