//! Sizes in bytes, as options say them: `memory = mib(512)`.

/// `n` KiB in bytes; the most that fits where that is more.
pub const fn kib(n: u64) -> u64 {
    n.saturating_mul(1024)
}

/// `n` MiB in bytes; the most that fits where that is more.
pub const fn mib(n: u64) -> u64 {
    kib(kib(n))
}

/// `n` GiB in bytes; the most that fits where that is more.
pub const fn gib(n: u64) -> u64 {
    mib(kib(n))
}

/// The least memory that a child process may be limited to: a Rust program needs some of it before it runs anything.
pub const PROCESS_MEMORY_MIN: u64 = mib(16);

/// `bytes`, where a child process can start with so much: what `#[task(process, memory = …)]` writes.
///
/// # Panics
/// When it is compiled, or at run time elsewhere, where that is less than [`PROCESS_MEMORY_MIN`].
#[doc(hidden)]
#[track_caller]
pub const fn process_memory(bytes: u64) -> u64 {
    assert!(
        PROCESS_MEMORY_MIN <= bytes,
        "`memory` of a task is less than mib(16), which a child process needs before it runs anything"
    );
    bytes
}

/// `bytes` as flags take it: in the largest unit that leaves a whole number.
pub fn size_text(bytes: u64) -> String {
    for (unit, name) in [(gib(1), "GiB"), (mib(1), "MiB"), (kib(1), "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_and_never_wrap() {
        assert_eq!((kib(1), mib(2), gib(1)), (1 << 10, 2 << 20, 1 << 30));
        assert_eq!(gib(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_size_is_told_in_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (kib(1), "1KiB"),
            (mib(512), "512MiB"),
            (gib(2), "2GiB"),
            (gib(2) + 1, "2147483649 bytes"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
