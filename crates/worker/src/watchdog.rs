//! Sees from outside the runtime when a body blocks one of its threads, and says which.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use lovage_core::{ms, secs};

/// How often the threads are looked at.
pub(crate) const LOOK_EVERY: Duration = ms(250);
/// A poll that takes longer than this blocks its thread: it is a thousand times what a poll should take.
const BLOCKED_AFTER: Duration = secs(1);

/// What this process's threads poll, for all its workers. Names are interned: a poll then costs three stores.
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
static BEACONS: Mutex<Vec<Weak<Beacon>>> = Mutex::new(Vec::new());

thread_local! {
    static BEACON: OnceCell<Arc<Beacon>> = const { OnceCell::new() };
}

/// A task's name as beacons show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(u32);

impl Label {
    pub(crate) fn of(name: &'static str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = names.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn name(self) -> &'static str {
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(self.0 as usize).copied().unwrap_or("?")
    }
}

/// What one thread polls: odd while it does, one higher at each start and end.
#[derive(Debug, Default)]
struct Beacon {
    count: AtomicU64,
    label: AtomicU32,
}

impl Beacon {
    fn of_this_thread() -> Arc<Self> {
        let beacon = Arc::new(Self::default());
        let mut beacons = BEACONS.lock().unwrap_or_else(PoisonError::into_inner);
        beacons.retain(|beacon| 0 < beacon.strong_count());
        beacons.push(Arc::downgrade(&beacon));
        beacon
    }
}

/// Does `work`, one poll of a body, while this thread's beacon shows `label`.
pub(crate) fn shown<T>(label: Label, work: impl FnOnce() -> T) -> T {
    BEACON.with(|beacon| {
        let beacon = beacon.get_or_init(Beacon::of_this_thread);
        // Only this thread writes, so a load and a store do what an exchange would.
        let count = beacon.count.load(Ordering::Relaxed);
        beacon.label.store(label.0, Ordering::Relaxed);
        beacon.count.store(count + 1, Ordering::Release);
        let done = work();
        beacon.count.store(count + 2, Ordering::Release);
        done
    })
}

/// Looks at all beacons, from a thread that no body runs on.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    beacon: Weak<Beacon>,
    count: u64,
    since: Instant,
    told: bool,
}

impl Watchdog {
    /// The tasks that have now blocked their thread for longer than [`BLOCKED_AFTER`], each told once.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<&'static str> {
        let beacons = BEACONS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut blocked = Vec::new();
        let mut seen = Vec::new();
        for weak in beacons {
            let Some(beacon) = weak.upgrade() else {
                continue;
            };
            let count = beacon.count.load(Ordering::Acquire);
            if count.is_multiple_of(2) {
                continue;
            }
            let before = self.seen.iter().find(|seen| seen.beacon.ptr_eq(&weak));
            let (since, mut told) = match before {
                Some(before) if before.count == count => (before.since, before.told),
                _ => (now, false),
            };
            if !told && BLOCKED_AFTER <= now.saturating_duration_since(since) {
                told = true;
                blocked.push(Label(beacon.label.load(Ordering::Relaxed)).name());
            }
            seen.push(Seen {
                beacon: weak,
                count,
                since,
                told,
            });
        }
        self.seen = seen;
        blocked
    }
}

/// When the runtime last ran a task of ours.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    beaten_ms: AtomicU64,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            beaten_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Beats until dropped; to be driven on the runtime that is watched.
    pub(crate) async fn beat(&self) {
        loop {
            self.beaten_ms.store(self.now_ms(), Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How long the runtime has run nothing.
    pub(crate) fn silence(&self) -> Duration {
        let silent = self
            .now_ms()
            .saturating_sub(self.beaten_ms.load(Ordering::Relaxed));
        Duration::from_millis(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_does_not_end_is_named_once() {
        let (entered, is_in) = std::sync::mpsc::channel();
        let (leave, may_leave) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            shown(Label::of("watchdog.test"), || {
                entered.send(()).unwrap();
                may_leave.recv().unwrap();
            });
        });
        is_in.recv().unwrap();

        let (mut watchdog, now) = (Watchdog::default(), Instant::now());
        let mut ours = |now| {
            let blocked = watchdog.look(now);
            blocked
                .into_iter()
                .filter(|name| *name == "watchdog.test")
                .count()
        };
        assert_eq!(ours(now), 0);
        assert_eq!(ours(now + secs(2)), 1);
        assert_eq!(ours(now + secs(3)), 0, "it is told once");
        leave.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(ours(now + secs(9)), 0);
    }
}
