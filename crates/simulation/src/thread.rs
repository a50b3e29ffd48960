//! Threads of simulated processes: real ones, but of them and the simulation only one runs at a time.
//!
//! The simulation waits while a body computes; the body waits while simulated time passes. So a thread is a part of its
//! process like any other: it stands still where that is frozen, and ends where that is killed.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

thread_local! {
    /// What a body's thread has in its hands.
    static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
}

struct Line {
    asks: Sender<Duration>,
    passed: Receiver<()>,
}

/// A thread, as the simulation sees it.
struct Running {
    asks: Receiver<Duration>,
    passed: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Blocks the body's thread for a span of simulated time. It does not return where its process is killed.
pub fn block(span: Duration) {
    let passed = LINE.with_borrow(|line| {
        let line = line.as_ref().expect("only bodies on threads block");
        line.asks.send(span).is_ok() && line.passed.recv().is_ok()
    });
    if !passed {
        // As `panic!` does, but for the message on stderr.
        std::panic::resume_unwind(Box::new("its process was killed"));
    }
}

/// Runs `job` on a thread for as long as this is polled. Dropping it ends the thread where it blocks.
pub async fn run(job: Box<dyn FnOnce() + Send>) {
    let running = Running::start(job);
    while let Ok(span) = running.asks.recv() {
        sleep(span).await;
        if let Some(passed) = &running.passed {
            // The thread waits for this, and for nothing else.
            let _ = passed.send(());
        }
    }
}

impl Running {
    fn start(job: Box<dyn FnOnce() + Send>) -> Self {
        let (ask, asks) = channel();
        let (pass, passed) = channel();
        let runtime = Handle::current();
        let thread = thread::spawn(move || {
            // For its clock.
            let _entered = runtime.enter();
            LINE.set(Some(Line { asks: ask, passed }));
            job();
            LINE.set(None);
        });
        Self {
            asks,
            passed: Some(pass),
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.passed = None;
        // One that unwinds has been told nothing else than to end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
