//! Schedules that cannot be dealt with now: each is left alone for a growing while, so that it neither stops the
//! others nor keeps the leader spinning.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{Millis, ScheduleName, ms, secs};

use crate::trouble::backoff;

/// The schedules that are remembered; what more there are are put off for the longest time, and not told of.
const REMEMBERED_MAX: usize = 10_000;
/// As much later than it said may a leader look at one again that has much to do.
const SLACK: Duration = secs(60);

/// Why a schedule is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The outbox of its queue is full.
    OutboxFull,
    /// Whether its last run lives could not be found out.
    Unknown,
    /// The broker refuses what it fires, and only that.
    Refused,
    /// Its record cannot be read, or its task not be made.
    Unreadable,
}

#[derive(Debug)]
struct Put {
    cause: Cause,
    failures: u32,
    /// The version under which it was put off.
    version: u64,
    /// When it is looked at again.
    again: Millis,
}

/// What this leader has put off.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    put: HashMap<ScheduleName, Put>,
}

impl PutOff {
    /// Puts a schedule of this version off at `now`. Answers for how long, and whether that is news.
    pub(crate) fn put(
        &mut self,
        name: &ScheduleName,
        version: u64,
        cause: Cause,
        now: Millis,
    ) -> (Duration, bool) {
        let (min, max) = match cause {
            Cause::OutboxFull | Cause::Unknown => (ms(200), secs(5)),
            // By a newer build, perhaps: the next leader may be one. Or until somebody acts.
            Cause::Unreadable | Cause::Refused => (secs(10), secs(300)),
        };
        if REMEMBERED_MAX <= self.put.len() && !self.put.contains_key(name) {
            return (backoff(u32::MAX, min, max), false);
        }
        let before = self.put.get(name).filter(|put| put.cause == cause);
        // A record that somebody wrote anew deserves another word, even if it is as bad.
        let before = before.filter(|put| cause != Cause::Unreadable || put.version == version);
        let failures = before.map_or(0, |put| put.failures);
        let is_new = before.is_none();
        let pause = backoff(failures, min, max);
        let put = Put {
            cause,
            failures: failures.saturating_add(1),
            version,
            again: now.plus(pause),
        };
        self.put.insert(name.clone(), put);
        (pause, is_new)
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

    /// Forgets those that did not come back: they have been deleted, or paused.
    pub(crate) fn forget(&mut self, now: Millis) {
        self.put.retain(|_, put| now <= put.again.plus(SLACK));
    }

    /// How many are put off for this cause.
    pub(crate) fn count(&self, cause: Cause) -> usize {
        self.put.values().filter(|put| put.cause == cause).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis::new(1_000_000);

    #[test]
    fn a_schedule_is_put_off_for_longer_each_time_and_told_once() {
        let name = ScheduleName::parse("report").unwrap();
        let mut put_off = PutOff::default();
        let (first, news) = put_off.put(&name, 1, Cause::OutboxFull, NOW);
        assert!(news && first <= ms(200));
        for _ in 0..40 {
            let (pause, news) = put_off.put(&name, 1, Cause::OutboxFull, NOW);
            assert!(!news && pause <= secs(5));
        }
        assert!(put_off.done(&name));
        assert!(!put_off.done(&name));
    }

    #[test]
    fn too_many_to_remember_are_put_off_quietly() {
        let mut put_off = PutOff::default();
        let mut told = 0;
        for _ in 0..3 {
            for n in 0..=REMEMBERED_MAX {
                let name = ScheduleName::parse(&format!("s-{n}")).unwrap();
                let (pause, news) = put_off.put(&name, 1, Cause::OutboxFull, NOW);
                told += usize::from(news);
                assert!(n < REMEMBERED_MAX || secs(2) < pause);
            }
        }
        assert_eq!(told, REMEMBERED_MAX, "once each");
    }

    #[test]
    fn a_bad_record_is_told_once_a_version() {
        let name = ScheduleName::parse("report").unwrap();
        let mut put_off = PutOff::default();
        assert!(put_off.put(&name, 1, Cause::Unreadable, NOW).1);
        put_off.stored(&name, 2);
        assert!(!put_off.put(&name, 2, Cause::Unreadable, NOW).1);
        assert_eq!(put_off.count(Cause::Unreadable), 1);
        assert!(put_off.put(&name, 7, Cause::Unreadable, NOW).1);
    }

    #[test]
    fn one_that_does_not_come_back_is_forgotten() {
        let name = ScheduleName::parse("report").unwrap();
        let mut put_off = PutOff::default();
        let (pause, _) = put_off.put(&name, 1, Cause::Unreadable, NOW);
        put_off.forget(NOW.plus(pause));
        assert_eq!(put_off.count(Cause::Unreadable), 1);
        put_off.forget(NOW.plus(pause + SLACK + ms(1)));
        assert_eq!(put_off.count(Cause::Unreadable), 0);
    }
}
