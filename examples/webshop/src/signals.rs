//! When a program that serves until it is told to stop should stop.

use std::time::Duration;

use lovage::{CancellationToken, secs};

/// What is open when a program is told to stop has so long to end.
const CLOSING_MAX: Duration = secs(5);

/// Cancels `closing` with the first signal. Returns with the second one, or when what is open has had its time: a
/// request that never comes to its end must not keep a program from its own.
pub async fn closed(closing: &CancellationToken) {
    stopped().await;
    closing.cancel();
    // Whichever it was.
    let _ = tokio::time::timeout(CLOSING_MAX, stopped()).await;
}

/// Waits for SIGTERM or SIGINT. The first process of a container dies of neither by itself.
pub async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate()).expect("a signal handler can be set");
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupted.await;
}
