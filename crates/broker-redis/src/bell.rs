//! Waiting for work: one blocking command a bell and handle, shared by all who wait.
//!
//! A listener holds at most one `BZPOPMIN` at a time and hands each ring to one waiter. A ring that finds no waiter is
//! put back for another process. How long a wait lasts is the local timer's affair, as Redis's own block times are
//! only good to a tenth of a second.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use lovage_core::{BrokerError, secs};
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisError, Value};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::access::Access;
use crate::config::RedisConfig;
use crate::connection::pause;
use crate::error::{NotConnected, broker_error, connect_error, spoils_connection};
use crate::routes::Routes;
use crate::transitions::ring;

/// The longest block: bounds how long a ring can be lost with a process that dies in it, and notices a dead peer.
const BLOCK: Duration = secs(5);
/// How long a connection is kept while nobody waits: a worker waits again as soon as it has run what a ring brought,
/// and each turn through the pool costs a trip for its UNWATCH and PING.
const KEPT: Duration = secs(5);
/// Bells that one handle can wait for at the same time, at one server.
const LISTENERS_MAX: usize = 256;
/// How often in a row a bell is followed elsewhere before those who wait for it are told.
const QUIET_MAX: u32 = 3;
/// Servers whose pools are kept; those of one that is no more leave with the rest.
const SERVERS_MAX: usize = 64;

type Rung = Result<(), Failed>;

/// Why the listener cannot listen. Told to each waiter, hence cloned.
#[derive(Clone)]
enum Failed {
    Command(RedisError),
    Connection(NotConnected),
}

impl Failed {
    /// Whether another server has the bell by now, so that looking again may find it.
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Command(error) if matches!(error.code(), Some("MOVED" | "UNBLOCKED")))
    }
}

/// The bells of a handle.
pub(crate) struct Bells {
    pools: Arc<Pools>,
    by_key: Mutex<HashMap<String, (Arc<Bell>, AbortHandle)>>,
}

/// The connections for listening, and the one for ringing, which nothing blocks.
struct Pools {
    routes: Arc<Routes>,
    access: Access,
    connect_timeout: Duration,
    response_timeout: Duration,
    by_server: Mutex<HashMap<String, Pool>>,
}

struct Bell {
    key: String,
    state: Mutex<Waiters>,
    changed: Notify,
}

#[derive(Default)]
struct Waiters {
    line: VecDeque<(u64, oneshot::Sender<Rung>)>,
    next: u64,
    /// A ring that its waiter left unheard.
    unheard: bool,
}

impl Bells {
    pub(crate) fn new(config: &RedisConfig, routes: Arc<Routes>) -> Self {
        Self {
            pools: Arc::new(Pools {
                routes,
                access: config.access.clone(),
                connect_timeout: config.connect_timeout,
                response_timeout: config.response_timeout,
                by_server: Mutex::default(),
            }),
            by_key: Mutex::default(),
        }
    }

    pub(crate) async fn wait(&self, key: &str, at_most: Duration) -> Result<(), BrokerError> {
        let bell = self.bell(key);
        let mut waiter = Waiter::join(&bell);
        match tokio::time::timeout(at_most, &mut waiter.rung).await {
            Ok(Ok(Err(Failed::Command(error)))) => Err(broker_error(error)),
            Ok(Ok(Err(Failed::Connection(failure)))) => Err(failure.told()),
            // Rung, timed out, or the listener has ended with its runtime: look whether there is work.
            _ => Ok(()),
        }
    }

    fn bell(&self, key: &str) -> Arc<Bell> {
        let mut bells = lock(&self.by_key);
        if let Some((bell, listener)) = bells.get(key)
            && !listener.is_finished()
        {
            return bell.clone();
        }
        let bell = Arc::new(Bell {
            key: key.to_owned(),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let listener = listen(bell.clone(), self.pools.clone());
        let listener = tokio::spawn(listener).abort_handle();
        bells.insert(key.to_owned(), (bell.clone(), listener));
        bell
    }
}

impl Pools {
    /// A connection to the server that has the bell.
    async fn connection(&self, server: ConnectionInfo) -> Result<Connection, Failed> {
        let address = server.addr().to_string();
        let made_before = lock(&self.by_server).get(&address).cloned();
        if let Some(pool) = made_before {
            match pool.get().await {
                Ok(connection) => return Ok(connection),
                // A pool connects with what the files held when it was made, which may be rotated since.
                Err(PoolError::Backend(_)) => {}
                Err(other) => return Err(not_connected(other, &server)),
            }
        }
        let pool = self.make(server.clone())?;
        {
            let mut pools = lock(&self.by_server);
            if SERVERS_MAX <= pools.len() {
                pools.clear();
            }
            pools.insert(address, pool.clone());
        }
        pool.get()
            .await
            .map_err(|error| not_connected(error, &server))
    }

    fn make(&self, server: ConnectionInfo) -> Result<Pool, Failed> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(BLOCK + self.response_timeout));
        let client = self
            .access
            .client(server)
            .map_err(|error| Failed::Connection(NotConnected::of(&error)))?;
        let info = client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, settings).map_err(Failed::Command)?;
        Pool::builder(manager)
            .max_size(LISTENERS_MAX)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(self.connect_timeout))
            .recycle_timeout(Some(self.response_timeout))
            .wait_timeout(Some(self.response_timeout))
            .build()
            .map_err(|error| Failed::Connection(NotConnected::for_now(error.to_string())))
    }
}

fn not_connected(error: PoolError, server: &ConnectionInfo) -> Failed {
    Failed::Connection(match error {
        PoolError::Backend(error) => NotConnected::of(&connect_error(error, server)),
        other => NotConnected::for_now(other.to_string()),
    })
}

impl Drop for Bells {
    fn drop(&mut self) {
        for (_, listener) in lock(&self.by_key).values() {
            listener.abort();
        }
    }
}

/// A place in the line. Leaving it unheard gives the ring to the next.
struct Waiter<'a> {
    bell: &'a Bell,
    number: u64,
    rung: oneshot::Receiver<Rung>,
}

impl<'a> Waiter<'a> {
    fn join(bell: &'a Bell) -> Self {
        let (sender, rung) = oneshot::channel();
        let number = {
            let mut state = lock(&bell.state);
            state.next += 1;
            let number = state.next;
            state.line.push_back((number, sender));
            number
        };
        bell.changed.notify_one();
        Self { bell, number, rung }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.bell.state);
        state.line.retain(|(number, _)| *number != self.number);
        if let Ok(Ok(())) = self.rung.try_recv() {
            state.unheard = true;
            drop(state);
            self.bell.changed.notify_one();
        }
    }
}

impl Bell {
    fn has_waiters(&self) -> bool {
        !lock(&self.state).line.is_empty()
    }

    /// Hands a ring to the first who still waits; false if nobody does.
    fn hand_on(&self) -> bool {
        let mut state = lock(&self.state);
        while let Some((_, ring)) = state.line.pop_front() {
            if ring.send(Ok(())).is_ok() {
                return true;
            }
        }
        false
    }

    fn fail_all(&self, failed: &Failed) {
        for (_, ring) in lock(&self.state).line.drain(..) {
            let _ = ring.send(Err(failed.clone()));
        }
    }

    fn take_unheard(&self) -> bool {
        std::mem::take(&mut lock(&self.state).unheard)
    }
}

/// Runs for as long as the handle lives; without a waiter it holds no connection for long.
async fn listen(bell: Arc<Bell>, pools: Arc<Pools>) {
    let mut failures = 0;
    loop {
        if bell.has_waiters() || lock(&bell.state).unheard {
            match serve(&bell, &pools).await {
                Ok(()) => failures = 0,
                // The bell hangs elsewhere now, which is no concern of those who wait for it.
                Err(failed) if failed.is_elsewhere() && failures < QUIET_MAX => failures += 1,
                Err(failed) => {
                    bell.fail_all(&failed);
                    tokio::time::sleep(pause(failures)).await;
                    failures += 1;
                }
            }
        } else {
            bell.changed.notified().await;
        }
    }
}

/// Listens on one connection until nobody has waited for a while.
async fn serve(bell: &Bell, pools: &Pools) -> Result<(), Failed> {
    let server = pools.routes.server_of(&bell.key).await;
    let server = server.map_err(|error| Failed::Connection(error.into()))?;
    let ended = serve_at(bell, pools, server.clone()).await;
    match &ended {
        Ok(()) => {}
        Err(Failed::Command(error)) => pools.routes.met(&bell.key, &server, Some(error)),
        Err(Failed::Connection(_)) => pools.routes.met(&bell.key, &server, None),
    }
    ended
}

async fn serve_at(bell: &Bell, pools: &Pools, server: ConnectionInfo) -> Result<(), Failed> {
    let unblocked = &*pools.routes;
    let connection = pools.connection(server).await?;
    loop {
        if bell.take_unheard() && !bell.hand_on() {
            put_back(unblocked, bell).await?;
        }
        if !bell.has_waiters() {
            if tokio::time::timeout(KEPT, bell.changed.notified())
                .await
                .is_err()
            {
                return Ok(());
            }
            continue;
        }
        let answer = {
            let mut block = redis::cmd("BZPOPMIN");
            block.arg(&bell.key).arg(BLOCK.as_secs());
            let mut other = connection.clone();
            let mut blocked =
                std::pin::pin!(async move { other.send_packed_command(&block).await });
            loop {
                tokio::select! {
                    answer = &mut blocked => {
                        break answer.and_then(Value::extract_error).map_err(Failed::Command);
                    }
                    () = bell.changed.notified() => {
                        if bell.take_unheard()
                            && !bell.hand_on()
                            && let Err(failed) = put_back(unblocked, bell).await
                        {
                            break Err(failed);
                        }
                    }
                }
            }
        };
        match answer {
            Ok(Value::Nil) => {}
            Ok(_) => {
                if !bell.hand_on() {
                    put_back(unblocked, bell).await?;
                }
            }
            Err(failed) => {
                let spoilt = match &failed {
                    Failed::Command(error) => spoils_connection(error),
                    // It is blocked still, and would take a ring that nobody hears.
                    Failed::Connection(_) => true,
                };
                if spoilt {
                    // Out of the pool: neither a blocked nor a half-open one must come back.
                    drop(deadpool_redis::Connection::take(connection));
                }
                return Err(failed);
            }
        }
    }
}

/// Rings for another process, over the connection of the verbs, which nothing blocks.
async fn put_back(unblocked: &Routes, bell: &Bell) -> Result<(), Failed> {
    ring(unblocked, &bell.key).await.map_err(|error| {
        // For the listener to put back once it serves again.
        lock(&bell.state).unheard = true;
        Failed::Connection(error.into())
    })
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
