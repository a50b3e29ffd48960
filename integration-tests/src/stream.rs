//! Sends that go on beside what a test does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lovage::{Client, Handle};
use lovage_core::{TaskId, ms};
use tokio::task::JoinHandle;

use crate::tasks::nap;

/// Tasks of one call.
const BATCH: usize = 20;

/// Somebody who sends short tasks until the stream is stopped.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Sent>,
}

/// What was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// The ids of the sends that were answered `Ok`.
    pub accepted: Vec<TaskId>,
    /// How many calls ended in an error.
    pub failed: usize,
}

impl Stream {
    /// Begins to send.
    pub fn start(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sending = tokio::spawn(async move {
            let mut sent = Sent::default();
            while !stopped.load(Ordering::Relaxed) {
                match client.send_all((0..BATCH).map(|_| nap(2))).await {
                    Ok(handles) => sent.accepted.extend(handles.iter().map(Handle::id)),
                    Err(_) => sent.failed += 1,
                }
                tokio::time::sleep(ms(10)).await;
            }
            sent
        });
        Self { stop, sending }
    }

    /// Ends it, after the call that is under way.
    ///
    /// # Panics
    /// Where the sender did.
    pub async fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.await.expect("the sender does not panic")
    }
}
