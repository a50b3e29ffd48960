//! Threads for bodies that compute or block: started when needed, bounded, ended when idle.
//!
//! Not the runtime's own blocking threads: dropping a runtime waits for those, and a body that does not end would keep
//! a process from ending.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lovage_core::secs;
use lovage_process::{Home, Host};

/// An idle thread costs a stack; starting one costs some ten microseconds.
const IDLE_MAX: Duration = secs(10);

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Up to `threads_max` threads and the jobs that wait for one. The lane's slots bound the jobs: one a thread.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    /// Whose threads they are where the process is a simulated one.
    host: Option<Arc<dyn Host>>,
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    pub(crate) fn new(home: &Home, name: &'static str, threads_max: usize) -> Self {
        Self(Arc::new(Shared {
            host: home.host().cloned(),
            name,
            threads_max,
            state: Mutex::default(),
            came: Condvar::new(),
        }))
    }

    /// Runs `job` on an idle thread or a new one. Where the system gives none, it waits for one that is busy; where
    /// there is none at all, it is dropped, and the answer is `false`.
    pub(crate) fn run(&self, job: Job) -> bool {
        if let Some(host) = &self.0.host {
            host.run_on_thread(job);
            return true;
        }
        let mut state = self.0.state();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle || self.0.threads_max <= state.threads {
            self.0.came.notify_one();
            return true;
        }
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name(self.0.name.to_owned());
        match thread.spawn(move || shared.work()) {
            Ok(_) => {
                state.threads += 1;
                true
            }
            Err(error) => {
                tracing::warn!(%error, threads = state.threads, "the system gives no further thread");
                if 0 < state.threads {
                    return true;
                }
                let dropped = std::mem::take(&mut state.jobs);
                // With the lock released: what a job holds is the user's.
                drop(state);
                drop(dropped);
                false
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What the user's values do when they are dropped must not cost the thread. The payload may panic again.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                    std::mem::forget(payload);
                }
                state = self.state();
                continue;
            }
            state.idle += 1;
            let (woken, waited) = self
                .came
                .wait_timeout(state, IDLE_MAX)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({}, {})", self.0.name, self.0.threads_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_does_not_cost_its_thread() {
        let threads = Threads::new(&Home::default(), "threads-test", 1);
        assert!(threads.run(Box::new(|| panic!("a drop"))));
        let (tell, told) = std::sync::mpsc::channel();
        assert!(threads.run(Box::new(move || tell.send(()).unwrap())));
        told.recv_timeout(secs(20)).unwrap();
    }
}
