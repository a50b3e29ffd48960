//! What the broker does to a stored envelope, for brokers that live in this language; the Redis broker's scripts
//! do the same at the same offsets.

use super::{Bytes, Envelope, HEADER_BYTES, Millis, Priority, TaskId, at, flag};
use crate::unique::Lock;

/// Makes the spans of an accepted envelope into instants counted from `now`.
pub fn pin(bytes: &Bytes, now: Millis) -> Bytes {
    let mut pinned = bytes.to_vec();
    if HEADER_BYTES <= pinned.len() {
        for (relative, field) in [
            (flag::START_RELATIVE, at::START),
            (flag::EXPIRES_RELATIVE, at::EXPIRES),
        ] {
            if pinned[at::FLAGS] & relative != 0 {
                let span = std::time::Duration::from_millis(read_u64(&pinned, field.clone()));
                pinned[field].copy_from_slice(&now.plus(span).get().to_be_bytes());
                pinned[at::FLAGS] &= !relative;
            }
        }
    }
    pinned.into()
}

/// Counts one more ended attempt, up to 65,535.
pub fn count_attempt(bytes: &Bytes) -> Bytes {
    let mut counted = bytes.to_vec();
    let attempts = attempts(bytes).saturating_add(1);
    if let Some(field) = counted.get_mut(at::ATTEMPTS) {
        field.copy_from_slice(&attempts.to_be_bytes());
    }
    counted.into()
}

/// How many attempts have ended; none for bytes that are no envelope.
pub fn attempts(bytes: &[u8]) -> u16 {
    match bytes.get(at::ATTEMPTS) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// Forgets the attempts that ended, as a revived task does.
pub fn reset_attempts(bytes: &Bytes) -> Bytes {
    let mut reset = bytes.to_vec();
    if let Some(attempts) = reset.get_mut(at::ATTEMPTS) {
        attempts.fill(0);
    }
    reset.into()
}

/// When a pinned envelope is due, if it says so.
pub fn due(bytes: &[u8]) -> Option<Millis> {
    let flags = *bytes.get(at::FLAGS)?;
    (flags & flag::START != 0 && HEADER_BYTES <= bytes.len())
        .then(|| Millis::new(read_u64(bytes, at::START)))
}

/// The priority; the default one for bytes that are no envelope.
pub fn priority(bytes: &[u8]) -> Priority {
    bytes
        .get(at::PRIORITY)
        .map_or_else(Priority::default, |level| Priority::new(*level))
}

/// Whether a lost worker's task is abandoned instead of recovered.
pub fn acks_early(bytes: &[u8]) -> bool {
    bytes
        .get(at::FLAGS)
        .is_some_and(|flags| flags & flag::ACK_EARLY != 0)
}

/// The key that it wants to hold. None of bytes that cannot be read: they run nowhere.
pub fn unique(bytes: &Bytes) -> Option<Lock> {
    let flags = bytes.get(at::FLAGS)?;
    if flags & flag::UNIQUE == 0 {
        return None;
    }
    Envelope::decode(bytes).ok()?.unique
}

/// The same envelope under another id: that of the task whose place it takes.
pub fn with_id(bytes: &Bytes, id: TaskId) -> Bytes {
    let mut renamed = bytes.to_vec();
    if let Some(bytes) = renamed.get_mut(at::ID) {
        bytes.copy_from_slice(id.as_bytes());
    }
    renamed.into()
}

/// The same pinned envelope, to be due at `start`.
pub fn with_start(bytes: &Bytes, start: Millis) -> Bytes {
    let mut moved = bytes.to_vec();
    if let Some(bytes) = moved.get_mut(at::START) {
        bytes.copy_from_slice(&start.get().to_be_bytes());
    }
    moved.into()
}

/// Whether something is to be sent when it has failed for good.
pub fn calls_back(bytes: &[u8]) -> bool {
    bytes
        .get(at::FLAGS)
        .is_some_and(|flags| flags & flag::CALLS_BACK != 0)
}

/// Whether it is long enough to be an envelope and names no time: it is ready as soon as it is accepted.
pub fn is_plain(bytes: &[u8]) -> bool {
    HEADER_BYTES <= bytes.len() && bytes[at::FLAGS] & !flag::ACK_EARLY == 0
}

fn read_u64(bytes: &[u8], range: std::ops::Range<usize>) -> u64 {
    bytes[range]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
