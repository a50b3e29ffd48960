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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_and_never_wrap() {
        assert_eq!((kib(1), mib(2), gib(1)), (1 << 10, 2 << 20, 1 << 30));
        assert_eq!(gib(u64::MAX), u64::MAX);
    }
}
