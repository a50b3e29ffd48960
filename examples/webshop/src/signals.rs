//! When a program that serves until it is told to stop should stop.

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
