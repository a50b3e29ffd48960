//! Schedules that cannot be dealt with now: each is left alone for a growing while, so that it neither stops the
//! others nor keeps the leader spinning.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{ScheduleName, ms, secs};

use crate::trouble::backoff;

/// The schedules that are remembered; with more, all begin again with short pauses.
const REMEMBERED_MAX: usize = 10_000;

/// Why a schedule is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The outbox of its queue is full.
    OutboxFull,
    /// Whether its last run lives could not be found out.
    Unknown,
    /// Its record cannot be read, or its task not be made.
    Unreadable,
}

#[derive(Debug)]
struct Put {
    cause: Cause,
    failures: u32,
    /// The version under which it was put off.
    version: u64,
}

/// What this leader has put off.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    put: HashMap<ScheduleName, Put>,
}

impl PutOff {
    /// Puts a schedule of this version off. Answers for how long, and whether that is news.
    pub(crate) fn put(
        &mut self,
        name: &ScheduleName,
        version: u64,
        cause: Cause,
    ) -> (Duration, bool) {
        let (min, max) = match cause {
            Cause::OutboxFull | Cause::Unknown => (ms(200), secs(5)),
            // By a newer build, perhaps: the next leader may be one.
            Cause::Unreadable => (secs(10), secs(300)),
        };
        if REMEMBERED_MAX <= self.put.len() && !self.put.contains_key(name) {
            self.put.clear();
        }
        let before = self.put.get(name).filter(|put| put.cause == cause);
        // A record that somebody wrote anew deserves another word, even if it is as bad.
        let before = before.filter(|put| cause != Cause::Unreadable || put.version == version);
        let failures = before.map_or(0, |put| put.failures);
        let is_new = before.is_none();
        let put = Put {
            cause,
            failures: failures.saturating_add(1),
            version,
        };
        self.put.insert(name.clone(), put);
        (backoff(failures, min, max), is_new)
    }

    /// Notes the version that putting it off has made.
    pub(crate) fn stored(&mut self, name: &ScheduleName, version: u64) {
        if let Some(put) = self.put.get_mut(name) {
            put.version = version;
        }
    }

    /// Notes that it was dealt with. Answers whether it was put off before.
    pub(crate) fn done(&mut self, name: &ScheduleName) -> bool {
        self.put.remove(name).is_some()
    }

    /// How many cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        let causes = self.put.values().map(|put| put.cause);
        causes.filter(|cause| *cause == Cause::Unreadable).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_put_off_for_longer_each_time_and_told_once() {
        let name = ScheduleName::parse("report").unwrap();
        let mut put_off = PutOff::default();
        let (first, news) = put_off.put(&name, 1, Cause::OutboxFull);
        assert!(news && first <= ms(200));
        for _ in 0..40 {
            let (pause, news) = put_off.put(&name, 1, Cause::OutboxFull);
            assert!(!news && pause <= secs(5));
        }
        assert!(put_off.done(&name));
        assert!(!put_off.done(&name));
    }

    #[test]
    fn a_bad_record_is_told_once_a_version() {
        let name = ScheduleName::parse("report").unwrap();
        let mut put_off = PutOff::default();
        assert!(put_off.put(&name, 1, Cause::Unreadable).1);
        put_off.stored(&name, 2);
        assert!(!put_off.put(&name, 2, Cause::Unreadable).1);
        assert_eq!(put_off.unreadable(), 1);
        assert!(put_off.put(&name, 7, Cause::Unreadable).1);
    }
}
