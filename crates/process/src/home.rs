//! What the parts of a program take from the process they run in: tasks of its runtime, and a monotonic clock.
//!
//! A process may be a simulated one. Whoever simulates it then sees each part that is started, and so can stop or
//! freeze all of them at one instant, as a signal does to a real process.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

/// A simulated process.
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Runs a part of the process until it ends, on the runtime that this is called on.
    ///
    /// Dropping the part at any of its polls is how a process is killed; not polling it is how one is frozen.
    fn spawn(&self, part: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinHandle<()>;

    /// Runs a job on a thread of the process.
    ///
    /// A thread cannot be dropped: how its process is killed or frozen under it is up to whoever simulates it.
    fn run_on_thread(&self, job: Box<dyn FnOnce() + Send>);
}

/// Where a part runs: in this process, or in a simulated one.
#[derive(Clone, Debug, Default)]
pub struct Home(Option<Arc<dyn Host>>);

impl Home {
    /// A simulated process. All of it runs on one runtime, whose clock is its monotonic clock.
    pub fn hosted(host: Arc<dyn Host>) -> Self {
        Self(Some(host))
    }

    /// Whether the process is a simulated one: then it has no threads of its own.
    pub fn is_hosted(&self) -> bool {
        self.0.is_some()
    }

    /// The simulated process, if it is one.
    pub fn host(&self) -> Option<&Arc<dyn Host>> {
        self.0.as_ref()
    }

    /// Runs `part` in the background.
    pub fn spawn(&self, part: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match &self.0 {
            None => tokio::spawn(part),
            Some(host) => host.spawn(Box::pin(part)),
        }
    }

    /// The monotonic clock of this process.
    pub fn clock(&self) -> Monotonic {
        match self.0 {
            None => Monotonic(Instant::now),
            Some(_) => Monotonic(|| tokio::time::Instant::now().into_std()),
        }
    }
}

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic(fn() -> Instant);

impl Monotonic {
    /// The present instant.
    pub fn now(self) -> Instant {
        (self.0)()
    }
}

impl Default for Monotonic {
    /// The clock of the operating system.
    fn default() -> Self {
        Self(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Host for Counting {
        fn spawn(&self, part: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinHandle<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(part)
        }

        fn run_on_thread(&self, job: Box<dyn FnOnce() + Send>) {
            job();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_process_sees_its_parts_and_lives_by_the_clock_of_its_runtime() {
        let host = Arc::new(Counting::default());
        let home = Home::hosted(host.clone());
        home.spawn(async {}).await.unwrap();
        assert_eq!(host.0.load(Ordering::SeqCst), 1);

        let (simulated, own) = (home.clock(), Home::default().clock());
        let (before, own_before) = (simulated.now(), own.now());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(simulated.now() - before, Duration::from_hours(1));
        assert!(own.now() - own_before < Duration::from_hours(1));
    }
}
