//! Signals, on a thread of their own: a blocked runtime must not keep a beat from hearing them.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lovage_core::ms;
use tokio::sync::Notify;

/// Two seconds after the first signal, less what it takes to notice and to exit.
const EXIT_AFTER: Duration = ms(1_800);

/// SIGTERM and SIGINT, which end the process, and SIGHUP, listened for from its start.
pub(super) struct Signals(Arc<Heard>);

#[derive(Default)]
struct Heard {
    first: Notify,
    hangup: Notify,
}

impl Signals {
    /// Starts listening. The first signal ends the process within two seconds, the second one at once, whatever hangs:
    /// what a beat leaves behind is taken up by the next one.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut listener = {
            let _inside = runtime.enter();
            Listener::new()?
        };
        let shared = Arc::new(Heard::default());
        let heard = Arc::clone(&shared);
        thread::Builder::new()
            .name(String::from("lovage-signals"))
            .spawn(move || {
                runtime.block_on(async {
                    let signal = listener.end(&heard.hangup).await;
                    tracing::info!(signal, "ending; a second signal ends at once");
                    heard.first.notify_one();
                    let second = listener.end(&heard.hangup);
                    // Whether it came or not.
                    let _ = tokio::time::timeout(EXIT_AFTER, second).await;
                    std::process::exit(0);
                });
            })?;
        Ok(Self(shared))
    }

    /// Returns when the first signal has come that ends the process.
    pub(super) async fn first(&self) {
        self.0.first.notified().await;
    }

    /// Returns when a SIGHUP has come.
    pub(super) async fn hangup(&self) {
        self.0.hangup.notified().await;
    }

    /// Says of each SIGHUP that there is nothing to read again.
    pub(super) async fn ignore_hangups(&self) {
        loop {
            self.hangup().await;
            tracing::warn!("there is no schedule file to read again; name one with --schedules");
        }
    }
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

    /// The next signal that ends the process; notes the others.
    async fn end(&mut self, hangup: &Notify) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => hangup.notify_one(),
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

    async fn end(&mut self, _: &Notify) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    }
}
