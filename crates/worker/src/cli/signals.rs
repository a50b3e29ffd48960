//! Signals, on a thread of their own: a blocked runtime must not keep a worker from hearing them.

use std::io;
use std::thread;
use std::time::Duration;

use lovage_core::ms;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::shutdown::Command;

/// Two seconds after the second signal, less what it takes to notice and to exit.
const EXIT_AFTER: Duration = ms(1_800);

/// SIGTERM and SIGINT, listened for.
pub(super) struct Signals {
    runtime: Runtime,
    listener: Listener,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            Listener::new()?
        };
        Ok(Self { runtime, listener })
    }

    /// Makes the first signal drain and the second one release at once and end the process.
    pub(super) fn command(
        self,
        worker: mpsc::WeakSender<Command>,
        grace: Duration,
    ) -> io::Result<()> {
        let Self {
            runtime,
            mut listener,
        } = self;
        let say = move |command| {
            if let Some(worker) = worker.upgrade() {
                let _ = worker.try_send(command);
            }
        };
        thread::Builder::new()
            .name(String::from("lovage-signals"))
            .spawn(move || {
                runtime.block_on(async {
                    let signal = listener.next().await;
                    tracing::info!(
                        signal,
                        ?grace,
                        "draining; a second signal gives everything back at once"
                    );
                    say(Command::Drain(grace));
                    let signal = listener.next().await;
                    tracing::warn!(signal, "giving everything back at once");
                    say(Command::Now);
                    tokio::time::sleep(EXIT_AFTER).await;
                    // Still here: the program waits for something that does not end, perhaps a body on a thread.
                    std::process::exit(0);
                });
            })?;
        Ok(())
    }
}

#[cfg(unix)]
struct Listener {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Listener {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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
