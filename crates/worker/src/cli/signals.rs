//! Signals, on a thread of their own: a blocked runtime must not keep a worker from hearing them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use lovage_core::{ms, secs};
use tokio::sync::Notify;

use crate::shutdown::{self, Command, Commander};

/// Two seconds after the second signal, less what it takes to notice and to exit.
const EXIT_AFTER: Duration = ms(1_800);

/// After the grace: last words, the release and leaving the queues take two and a half seconds at most.
const DRAIN_MARGIN: Duration = secs(4);

/// SIGTERM and SIGINT, listened for from the start of the process: before there is a worker as well. A SIGHUP, of a
/// terminal that was closed, ends nothing.
#[derive(Clone)]
pub(super) struct Signals {
    state: Arc<Mutex<State>>,
    first: Arc<Notify>,
}

#[derive(Default)]
struct State {
    heard: u32,
    worker: Option<Commanded>,
}

/// The worker that signals are for.
struct Commanded {
    commands: Weak<Commander>,
    grace: Duration,
}

impl Signals {
    /// Starts listening. The first signal ends the process some seconds after the grace, the second one within two
    /// seconds, whatever hangs.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut listener = {
            let _inside = runtime.enter();
            Listener::new()?
        };
        let signals = Self {
            state: Arc::default(),
            first: Arc::default(),
        };
        let hears = signals.clone();
        thread::Builder::new()
            .name(String::from("lovage-signals"))
            .spawn(move || {
                runtime.block_on(async {
                    hears.heard(listener.next().await);
                    let drained = hears.grace() + DRAIN_MARGIN;
                    if let Ok(signal) = tokio::time::timeout(drained, listener.next()).await {
                        hears.heard(signal);
                        tokio::time::sleep(EXIT_AFTER).await;
                    }
                    // Still here: the program waits for something that does not end, perhaps a body that blocks a
                    // thread of the runtime.
                    std::process::exit(0);
                });
            })?;
        Ok(signals)
    }

    /// Returns when the first signal has come.
    pub(super) async fn first(&self) {
        self.first.notified().await;
    }

    /// Makes the first signal drain this worker and the second one release at once, those that came before included.
    pub(super) fn command(&self, commands: Weak<Commander>, grace: Duration) {
        let mut state = self.state();
        let heard = state.heard;
        let worker = state.worker.insert(Commanded { commands, grace });
        match heard {
            0 => {}
            1 => worker.say(Command::Drain(grace)),
            _ => worker.say(Command::Now),
        }
    }

    fn heard(&self, signal: &'static str) {
        let mut state = self.state();
        state.heard += 1;
        self.first.notify_one();
        let Some(worker) = &state.worker else {
            return tracing::info!(signal, "ending before the worker has started");
        };
        if state.heard == 1 {
            let grace = worker.grace;
            tracing::info!(
                signal,
                ?grace,
                "draining; a second signal gives everything back at once"
            );
            worker.say(Command::Drain(grace));
        } else {
            tracing::warn!(signal, "giving everything back at once");
            worker.say(Command::Now);
        }
    }

    fn grace(&self) -> Duration {
        let state = self.state();
        state
            .worker
            .as_ref()
            .map_or(Duration::ZERO, |worker| worker.grace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commanded {
    fn say(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            shutdown::command(&commands, command);
        }
    }
}

/// Ends the process in a while, where what is left of the program does not: a body may block a thread of the runtime.
pub(super) fn exit_soon() {
    // Without a thread to wait on, the program's own end is all there is.
    let _ = thread::Builder::new().spawn(|| {
        thread::sleep(EXIT_AFTER);
        std::process::exit(0);
    });
}

#[cfg(unix)]
struct Listener {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Listener {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    tracing::info!("a SIGHUP ends no worker; send SIGTERM to stop it");
                }
            }
        }
    }
}

#[cfg(not(unix))]
struct Listener;

#[cfg(not(unix))]
impl Listener {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    }
}
