//! Pushed outcomes: one pub/sub connection a handle, opened by the first wait and shared by all.
//!
//! A message may be lost with a connection, so a wait asks again whenever the subscription was made anew, and every
//! [`ASK_AGAIN`] besides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lovage_core::{Awaited, BrokerError, TaskId, TransportError, WorkerId, secs};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::access::Access;
use crate::config::RedisConfig;
use crate::connection::pause;
use crate::error::{broker_error, connect_error, connection_error};
use crate::keys::hex;
use crate::routes::Routes;
use crate::transitions::Asked;

/// Bounds how late an outcome is told whose push was lost.
const ASK_AGAIN: Duration = secs(5);
/// What a question is given at the end of a wait: only then is a missing answer a sign that Redis is silent.
const ANSWER_MIN: Duration = secs(1);
/// A silent connection is asked whether it lives.
const PING_EVERY: Duration = secs(10);

/// See the module.
pub(crate) struct Subscription {
    handle: String,
    channel: String,
    routes: Arc<Routes>,
    access: Access,
    connect_timeout: Duration,
    response_timeout: Duration,
    waits: Arc<Waits>,
    listener: Mutex<Option<AbortHandle>>,
    /// How often the subscription was made.
    made: watch::Sender<u64>,
}

#[derive(Default)]
struct Waits(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    by_task: HashMap<TaskId, Line>,
    /// The number of the next wait. One count for all lines: a line that was told is begun anew while its waits still
    /// leave, and they must not take those of the new one along.
    next: u64,
}

/// The waits for one task, numbered.
type Line = Vec<(u64, oneshot::Sender<Bytes>)>;

impl Subscription {
    pub(crate) fn new(config: &RedisConfig, routes: Arc<Routes>, channels: &str) -> Self {
        let handle = hex(WorkerId::random().as_bytes());
        Self {
            channel: format!("{channels}{handle}"),
            handle,
            routes,
            access: config.access.clone(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            waits: Arc::default(),
            listener: Mutex::default(),
            made: watch::Sender::new(0),
        }
    }

    /// The name of this handle, by which scripts tell it.
    pub(crate) fn handle(&self) -> &str {
        &self.handle
    }

    /// Waits for a push; `ask` asks Redis, and leaves our name with the task.
    pub(crate) async fn outcome<F>(
        &self,
        id: TaskId,
        at_most: Duration,
        ask: impl Fn() -> F,
    ) -> Result<Awaited, BrokerError>
    where
        F: Future<Output = Result<Asked, BrokerError>>,
    {
        let deadline = Instant::now() + at_most;
        let mut wait = Wait::join(&self.waits, id);
        let mut made = self.made.subscribe();
        let mut failures = 0;
        // One answer is awaited even where there is no time to wait: it may be there already.
        let mut patience = self.connect_timeout + self.response_timeout;
        loop {
            // Seen before the question: a subscription made after it makes us ask once more.
            made.mark_unchanged();
            let bound = deadline.max(Instant::now() + patience);
            let asked = timeout_at(bound, ask()).await;
            patience = ANSWER_MIN;
            let again = match asked {
                // That the task has not ended yet was nobody's answer.
                Err(_) => {
                    return Err(BrokerError::Unknown(TransportError::new(
                        "no answer in time",
                    )));
                }
                Ok(Ok(Asked::Ended(outcome))) => return Ok(Awaited::Outcome(outcome)),
                Ok(Ok(Asked::Unknown)) => return Ok(wait.told().unwrap_or(Awaited::Unknown)),
                Ok(Ok(Asked::Waiting)) => {
                    failures = 0;
                    self.listen();
                    Instant::now() + ASK_AGAIN
                }
                Ok(Err(error @ BrokerError::Misconfigured(_))) => return Err(error),
                Ok(Err(error)) => {
                    let again = Instant::now() + pause(failures);
                    failures += 1;
                    if deadline <= again {
                        return Err(error);
                    }
                    again
                }
            };
            tokio::select! {
                Ok(outcome) = &mut wait.told, if !wait.told.is_terminated() => return Ok(Awaited::Outcome(outcome)),
                Ok(()) = made.changed() => {}
                () = tokio::time::sleep_until(again.min(deadline)) => {
                    if deadline <= Instant::now() {
                        return Ok(Awaited::TimedOut);
                    }
                }
            }
        }
    }

    /// Starts the listener unless it runs.
    fn listen(&self) {
        let mut listener = lock(&self.listener);
        if listener.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let run = Listener {
            channel: self.channel.clone(),
            routes: self.routes.clone(),
            access: self.access.clone(),
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            waits: self.waits.clone(),
            made: self.made.clone(),
        };
        *listener = Some(tokio::spawn(run.run()).abort_handle());
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(listener) = &*lock(&self.listener) {
            listener.abort();
        }
    }
}

struct Listener {
    channel: String,
    routes: Arc<Routes>,
    access: Access,
    connect_timeout: Duration,
    response_timeout: Duration,
    waits: Arc<Waits>,
    made: watch::Sender<u64>,
}

impl Listener {
    async fn run(self) {
        let mut failures = 0;
        loop {
            match self.subscribed().await {
                // It was there, and was lost. A server that cuts each at once is not asked in a tight loop.
                Ok(()) => {
                    failures = 0;
                    tokio::time::sleep(pause(0)).await;
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(%error, "cannot subscribe to outcomes; asking for them meanwhile");
                    }
                    tokio::time::sleep(pause(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Serves one connection until it fails.
    async fn subscribed(&self) -> Result<(), BrokerError> {
        let connect = async {
            let server = self.routes.any_server().await?;
            let client = self.access.client(server).map_err(connection_error)?;
            let mut connection = client.get_async_pubsub().await.map_err(|error| {
                connection_error(connect_error(error, client.get_connection_info()))
            })?;
            let subscribed = connection.subscribe(&self.channel).await;
            subscribed.map_err(broker_error)?;
            Ok::<_, BrokerError>(connection)
        };
        let connection = timeout(self.connect_timeout, connect)
            .await
            .unwrap_or_else(|_| Err(BrokerError::Refused(TransportError::new("no answer"))))?;
        let (mut sink, mut messages) = connection.split();
        self.made.send_modify(|made| *made += 1);
        loop {
            match timeout(PING_EVERY, messages.next()).await {
                Ok(Some(message)) => self.waits.tell(message.get_payload_bytes()),
                Ok(None) => return Ok(()),
                Err(_) => {
                    // The answer comes by the same stream that must be read meanwhile.
                    let ping = timeout(self.response_timeout, sink.ping::<redis::Value>());
                    let mut ping = std::pin::pin!(ping);
                    loop {
                        tokio::select! {
                            answer = &mut ping => match answer {
                                Ok(Ok(_)) => break,
                                _ => return Ok(()),
                            },
                            message = messages.next() => match message {
                                Some(message) => self.waits.tell(message.get_payload_bytes()),
                                None => return Ok(()),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Waits {
    fn tell(&self, message: &[u8]) {
        let Some((id, outcome)) = message.split_at_checked(16) else {
            return;
        };
        let Ok(id) = TaskId::try_from(id) else {
            return;
        };
        let told = lock(&self.0).by_task.remove(&id).unwrap_or_default();
        let outcome = Bytes::copy_from_slice(outcome);
        for (_, wait) in told {
            let _ = wait.send(outcome.clone());
        }
    }
}

/// One wait among those of the handle.
struct Wait<'a> {
    waits: &'a Waits,
    id: TaskId,
    number: u64,
    told: oneshot::Receiver<Bytes>,
}

impl<'a> Wait<'a> {
    fn join(waits: &'a Waits, id: TaskId) -> Self {
        let (tell, told) = oneshot::channel();
        let mut all = lock(&waits.0);
        let number = all.next;
        all.next += 1;
        all.by_task.entry(id).or_default().push((number, tell));
        drop(all);
        Self {
            waits,
            id,
            number,
            told,
        }
    }

    /// What was pushed between two questions.
    fn told(&mut self) -> Option<Awaited> {
        self.told.try_recv().ok().map(Awaited::Outcome)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.waits.0);
        if let Some(line) = all.by_task.get_mut(&self.id) {
            line.retain(|(number, _)| *number != self.number);
            if line.is_empty() {
                all.by_task.remove(&self.id);
            }
        }
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use lovage_core::ms;

    use super::*;

    fn push(waits: &Waits, id: TaskId) {
        waits.tell(&[&id.as_bytes()[..], b"end"].concat());
    }

    #[tokio::test]
    async fn a_wait_that_was_told_takes_no_later_one_along() {
        let (waits, id) = (Waits::default(), TaskId::random());
        let told = Wait::join(&waits, id);
        push(&waits, id);
        let mut later = Wait::join(&waits, id);
        drop(told);
        push(&waits, id);
        let end = Awaited::Outcome(Bytes::from_static(b"end"));
        assert_eq!(later.told(), Some(end));
    }

    #[tokio::test]
    async fn a_question_without_an_answer_does_not_say_that_the_task_goes_on() {
        let config = RedisConfig::new("redis://127.0.0.1:1");
        let routes = Arc::new(Routes::new(&config).unwrap());
        let subscription = Subscription::new(&config, routes, "channel:");
        let asked = AtomicBool::new(false);
        let ask = || async {
            if asked.swap(true, Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Err(BrokerError::Refused(TransportError::new("not yet")))
        };
        let end = subscription.outcome(TaskId::random(), ms(300), ask).await;
        assert!(matches!(end, Err(BrokerError::Unknown(_))), "{end:?}");
    }
}
