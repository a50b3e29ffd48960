//! A process that can be killed, frozen and cut off at any instant.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use lovage_process::Host;
use tokio::task::JoinHandle;

use crate::thread;

/// One simulated process: all that a worker or a beat starts is polled through it.
pub struct Process {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    killed: bool,
    frozen: bool,
    cut: bool,
    /// What happens to it, and at which poll of any of its parts from now.
    fated: Option<(u64, Fated)>,
    /// Who to wake when it thaws or is killed, by part: in the order in which they were started.
    wakers: BTreeMap<u64, Waker>,
    parts: u64,
}

impl Process {
    /// A process that has started nothing.
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            state: Mutex::default(),
        })
    }

    /// Its name, for the history.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it at this instant: none of its parts is polled again, all are dropped. What it has sent goes on.
    pub fn kill(&self) {
        let wakers = {
            let mut state = self.state();
            state.killed = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Kills or freezes it (as SIGSTOP does, a host that swaps, or a virtual machine that is moved) at the `polls`-th poll of any of its parts from now.
    pub fn fate(&self, polls: u64, fated: Fated) {
        self.state().fated = Some((polls, fated));
    }

    /// Lets its parts go on. All that was sent to it meanwhile, and all its timers, are there at once.
    pub fn thaw(&self) {
        let wakers: Vec<Waker> = {
            let mut state = self.state();
            state.frozen = false;
            // Also where it was to be frozen, and has not been polled so often.
            state.fated.take_if(|(_, fated)| *fated == Fated::Freeze);
            state.wakers.values().cloned().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Cuts it off from the broker, or connects it again.
    pub fn cut(&self, cut: bool) {
        self.state().cut = cut;
    }

    /// Whether it was killed.
    pub fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// Whether it is cut off from the broker.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a poll of the part `number` may do.
    fn turn(&self, number: u64, waker: &Waker) -> Turn {
        let mut state = self.state();
        if !state.killed && !state.frozen {
            match &mut state.fated {
                Some((0, Fated::Kill)) => {
                    drop(state);
                    self.kill();
                    return Turn::End;
                }
                Some((0, Fated::Freeze)) => (state.frozen, state.fated) = (true, None),
                Some((polls, _)) => *polls -= 1,
                None => {}
            }
        }
        if state.killed {
            return Turn::End;
        }
        state.wakers.insert(number, waker.clone());
        if state.frozen { Turn::Wait } else { Turn::Go }
    }

    fn forget(&self, number: u64) {
        self.state().wakers.remove(&number);
    }
}

/// What may happen to a process in the middle of what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fated {
    /// It is killed.
    Kill,
    /// It is frozen.
    Freeze,
}

enum Turn {
    Go,
    Wait,
    End,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A handle by which a process hosts the parts of a worker or a beat.
#[derive(Debug)]
pub struct Hosting(pub Arc<Process>);

impl Host for Hosting {
    fn spawn(&self, part: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinHandle<()> {
        let number = {
            let mut state = self.0.state();
            state.parts += 1;
            state.parts
        };
        tokio::spawn(Part {
            process: Arc::clone(&self.0),
            number,
            inner: Some(part),
        })
    }

    fn run_on_thread(&self, job: Box<dyn FnOnce() + Send>) {
        let _part = self.spawn(Box::pin(thread::run(job)));
    }
}

/// A part of a process.
struct Part {
    process: Arc<Process>,
    number: u64,
    inner: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Part {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match this.process.turn(this.number, cx.waker()) {
            Turn::End => {
                this.inner = None;
                return Poll::Ready(());
            }
            Turn::Wait => return Poll::Pending,
            Turn::Go => {}
        }
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(());
        };
        let polled = inner.as_mut().poll(cx);
        // A body may have killed its own process.
        if polled.is_ready() || this.process.is_killed() {
            this.inner = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.process.forget(self.number);
    }
}
