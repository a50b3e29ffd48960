//! One multiplexed connection that is made anew whenever it fails, to one server or to whichever is the primary.
//!
//! A command that meets a closed or silent connection fails and spoils it; the next one makes another, with the name
//! looked up again. So a half-open connection lasts one response timeout, also where callers give up sooner: a command
//! that is dropped without an answer leaves a PING behind, which waits in its place.

mod permissions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{BrokerError, TransportError};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, PushInfo, PushKind, Value,
};
use tokio::time::Instant;

use crate::config::{ConnectError, RedisConfig};
use crate::confirm::Question;
use crate::error::{
    Failed, Meaning, NotConnected, broker_error, cannot_confirm, connect_error, connection_error,
    meaning, spoils_connection,
};
use crate::script::{Call, Dialect, Script};
use crate::sentinel::Sentinels;
use crate::site::SentinelSite;
use crate::version::dialect;

/// The first wait after a connection could not be made; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Workers take new work within five seconds of Redis's return: this, the connecting, and their own pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Commands that may wait for the writer of one connection; more callers wait in line.
const COMMANDS_QUEUED_MAX: usize = 1024;

/// A connection that was there a moment ago.
#[derive(Clone)]
pub(crate) struct Live {
    number: u64,
    connection: MultiplexedConnection,
    dialect: Dialect,
    user: Arc<str>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// Where the last connection led.
    server: Option<ConnectionInfo>,
    /// Connections made so far: names each, so that a late failure of an old one does not spoil a newer one.
    made: u64,
    /// Attempts made so far, good or bad.
    attempts: u64,
    failures: u32,
    retry_at: Option<Instant>,
    down: bool,
    /// Why no connection can be made was said.
    unreachable: bool,
    /// That somebody must act was said, and nobody has yet.
    alarmed: bool,
    /// The connection that a PING asks whether it lives.
    probed: Option<u64>,
}

/// See the module.
pub(crate) struct Connection {
    target: Target,
    config: RedisConfig,
    state: Arc<Mutex<State>>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<Option<NotConnected>>,
}

/// Which server to connect to.
enum Target {
    Server(ConnectionInfo),
    Primary(Sentinels),
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::Server(info) => info.addr().to_string(),
            Self::Primary(sentinels) => format!("the primary of {}", sentinels.service()),
        }
    }
}

impl Connection {
    /// To one server. Nothing is connected yet.
    pub(crate) fn to(info: ConnectionInfo, config: &RedisConfig) -> Self {
        Self::new(Target::Server(info), config)
    }

    /// To whichever server is the primary. Nothing is connected yet.
    pub(crate) fn to_primary(site: SentinelSite, config: &RedisConfig) -> Self {
        let sentinels = Sentinels::new(site, config.access.clone());
        Self::new(Target::Primary(sentinels), config)
    }

    fn new(target: Target, config: &RedisConfig) -> Self {
        Self {
            target,
            config: config.clone(),
            state: Arc::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Which server it leads to: another connection there does what this one does.
    pub(crate) async fn server(&self) -> Result<ConnectionInfo, BrokerError> {
        match &self.target {
            Target::Server(info) => Ok(info.clone()),
            Target::Primary(_) => {
                self.live().await?;
                // There was a connection just now, so this is where it led.
                let state = lock(&self.state);
                state
                    .server
                    .clone()
                    .ok_or_else(|| BrokerError::Refused(TransportError::new("no primary is known")))
            }
        }
    }

    /// Calls a script by its hash, and by its text where Redis does not know it.
    pub(crate) async fn call(
        &self,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<Value, Failed> {
        let live = self.live().await.map_err(Failed::Connecting)?;
        self.call_on(&live, script, fill).await
    }

    /// Calls a script by the very connection that `live` is, also where a newer one has taken its place.
    pub(crate) async fn call_on(
        &self,
        live: &Live,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<Value, Failed> {
        let by_hash = script.by_hash(live.dialect, &fill);
        let answer = match self.send(live, &by_hash).await {
            Err(error) if meaning(&error) == Meaning::NotLoaded => {
                let by_text = script.by_text(live.dialect, &fill);
                self.send(live, &by_text).await
            }
            answer => answer,
        };
        self.answered(live, answer).await
    }

    /// A connection to a server that can answer `question`.
    pub(crate) async fn able_to_answer(&self, question: &Question) -> Result<Live, BrokerError> {
        let live = self.live().await?;
        let tried = self.send(&live, &question.try_out()).await;
        tried.map_err(|error| cannot_confirm(&error, question.needs()))?;
        Ok(live)
    }

    /// Sends one command by the very connection that `live` is.
    pub(crate) async fn command_on(
        &self,
        live: &Live,
        command: &Cmd,
    ) -> Result<Value, BrokerError> {
        self.send(live, command).await.map_err(broker_error)
    }

    /// Sends one command.
    pub(crate) async fn send_one(&self, command: &Cmd) -> Result<Value, Failed> {
        let live = self.live().await.map_err(Failed::Connecting)?;
        let sent = self.send(&live, command).await;
        self.answered(&live, sent).await
    }

    async fn answered(
        &self,
        live: &Live,
        answer: redis::RedisResult<Value>,
    ) -> Result<Value, Failed> {
        match answer {
            Ok(answer) => Ok(answer),
            // Boxed, as it is rare and larger than the call.
            Err(error) => Err(Box::pin(self.failed(live, error)).await),
        }
    }

    async fn send(&self, live: &Live, command: &Cmd) -> redis::RedisResult<Value> {
        let mut unanswered = Unanswered {
            state: &self.state,
            live: Some(live),
        };
        let answer = live.connection.clone().send_packed_command(command).await;
        unanswered.live = None;
        let answer = match answer {
            Ok(Value::ServerError(error)) => Err(error.into()),
            other => other,
        };
        if let Err(error) = &answer
            && spoils_connection(error)
        {
            drop_live(&self.state, live.number, &error.to_string());
        }
        answer
    }

    async fn live(&self) -> Result<Live, BrokerError> {
        let attempts = {
            let state = lock(&self.state);
            if let Some(live) = &state.live {
                return Ok(live.clone());
            }
            state.attempts
        };
        let mut last_failure = self.connecting.lock().await;
        let retry_at = {
            let state = lock(&self.state);
            if let Some(live) = &state.live {
                return Ok(live.clone());
            }
            // Somebody tried while this call waited in line: its failure is the answer, or a thousand calls in line
            // would each wait out an attempt of their own.
            if state.attempts != attempts
                && let Some(failure) = &*last_failure
            {
                return Err(failure.clone().told());
            }
            state.retry_at
        };
        // Told at once, not waited out: a caller whose own deadline ends a wait in here cannot know that nothing was
        // sent, and would have to say that its tasks may be stored. Every caller backs off by itself.
        if let (Some(retry_at), Some(failure)) = (retry_at, &*last_failure)
            && Instant::now() < retry_at
        {
            return Err(failure.clone().told());
        }
        // Boxed, as it is rare and large: each call that waits would be several times its size.
        match Box::pin(self.connect()).await {
            Ok(live) => {
                *last_failure = None;
                Ok(live)
            }
            Err(error) => {
                self.tell(&error);
                *last_failure = Some(NotConnected::of(&error));
                Err(connection_error(error))
            }
        }
    }

    /// Makes a connection, whatever there is. A failure is its caller's to tell.
    pub(crate) async fn connect(&self) -> Result<Live, ConnectError> {
        let number = {
            let mut state = lock(&self.state);
            state.attempts += 1;
            state.made += 1;
            state.made
        };
        let made = self.make(number).await;
        let mut state = lock(&self.state);
        match made {
            Ok((live, server)) => {
                if state.down {
                    tracing::info!(server = %server.addr(), "connected to Redis again");
                }
                state.server = Some(server);
                state.down = false;
                state.alarmed = false;
                state.unreachable = false;
                state.failures = 0;
                state.retry_at = None;
                state.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                state.retry_at = Some(Instant::now() + pause(state.failures));
                state.failures = state.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    /// Once a change.
    fn tell(&self, error: &ConnectError) {
        let server = self.target.name();
        let mut state = lock(&self.state);
        if NotConnected::of(error).is_lasting() {
            if !state.alarmed {
                tracing::error!(%server, %error, "Redis refuses connections until somebody acts; trying again until it does not");
            }
            state.alarmed = true;
        } else if !state.unreachable {
            tracing::warn!(%server, %error, "Redis cannot be reached; trying again until it can");
            state.unreachable = true;
        }
        state.down = true;
    }

    async fn make(&self, number: u64) -> Result<(Live, ConnectionInfo), ConnectError> {
        match &self.target {
            Target::Server(info) => {
                let live = self.greet(info.clone(), number).await?;
                Ok((live, info.clone()))
            }
            Target::Primary(sentinels) => self.find(sentinels, number).await,
        }
    }

    /// Asks one sentinel after the other until one names a server that says itself that it is the primary.
    async fn find(
        &self,
        sentinels: &Sentinels,
        number: u64,
    ) -> Result<(Live, ConnectionInfo), ConnectError> {
        // All that are silent together take no longer than one server that is.
        let share = u32::try_from(sentinels.count()).map_or(1, |count| count + 1);
        let limit = self.config.connect_timeout / share;
        let mut tried: Vec<ConnectionAddr> = Vec::new();
        let mut failure = None;
        for place in sentinels.places() {
            let failed = match sentinels.ask(place, limit).await {
                Ok(server) if tried.contains(server.addr()) => continue,
                Ok(server) => {
                    tried.push(server.addr().clone());
                    match self.greet_primary(server.clone(), number).await {
                        Ok(live) => {
                            sentinels.was_right(place);
                            return Ok((live, server));
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // What passes by itself counts before what somebody must mend: the sentinel that is away may be the one
            // that is set up well.
            if !matches!(failure, Some(ConnectError::Unreachable(_))) {
                failure = Some(failed);
            }
        }
        Err(failure.expect("a site names at least one sentinel"))
    }

    async fn greet_primary(
        &self,
        server: ConnectionInfo,
        number: u64,
    ) -> Result<Live, ConnectError> {
        let address = server.addr().to_string();
        let live = self.greet(server.clone(), number).await?;
        let role: Vec<Value> = redis::cmd("ROLE")
            .query_async(&mut live.connection.clone())
            .await
            .map_err(|error| connect_error(error, &server))?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(live),
            _ => Err(ConnectError::Unreachable(TransportError::new(format!(
                "{address} is not the primary that a sentinel takes it for"
            )))),
        }
    }

    async fn greet(&self, info: ConnectionInfo, number: u64) -> Result<Live, ConnectError> {
        let client = self.config.access.client(info)?;
        let failed = |error| connect_error(error, client.get_connection_info());
        let state = Arc::downgrade(&self.state);
        // Called by the connection's own driver when the other side has closed it, also while nothing is on the way.
        let closed = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection
                && let Some(state) = state.upgrade()
            {
                drop_live(&state, number, "closed by the other side");
            }
            Ok::<(), ()>(())
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout))
            .set_pipeline_buffer_size(COMMANDS_QUEUED_MAX)
            .set_push_sender(closed);
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .map_err(failed)?;
        let user = client.get_connection_info().redis_settings().username();
        let user = user.unwrap_or("default");
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .map_err(failed)?;
        Ok(Live {
            number,
            connection,
            dialect: dialect(&info)?,
            user: user.into(),
        })
    }
}

/// A command on its way. Dropped by a caller who has given up, it leaves the connection to be looked at.
struct Unanswered<'a> {
    state: &'a Arc<Mutex<State>>,
    live: Option<&'a Live>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let (Some(live), Ok(runtime)) = (self.live, tokio::runtime::Handle::try_current()) else {
            return;
        };
        // One at a time, however many give up at once.
        if lock(self.state).probed.replace(live.number) != Some(live.number) {
            runtime.spawn(probe(self.state.clone(), live.clone()));
        }
    }
}

async fn probe(state: Arc<Mutex<State>>, mut live: Live) {
    let answer = live
        .connection
        .send_packed_command(&redis::cmd("PING"))
        .await;
    {
        let mut state = lock(&state);
        if state.probed == Some(live.number) {
            state.probed = None;
        }
    }
    if let Err(error) = answer
        && spoils_connection(&error)
    {
        drop_live(&state, live.number, &error.to_string());
    }
}

/// The wait after `failures` attempts that failed, with up to half of it taken off at random.
pub(crate) fn pause(failures: u32) -> Duration {
    let full = PAUSE_MIN
        .saturating_mul(1 << failures.min(10))
        .min(PAUSE_MAX);
    full.mul_f64(1.0 - fastrand::f64() / 2.0)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while the lock is held, and a half-made change of these fields harms nobody.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drop_live(state: &Mutex<State>, number: u64, why: &str) {
    let mut state = lock(state);
    if state
        .live
        .as_ref()
        .is_some_and(|live| live.number == number)
    {
        state.live = None;
        if !state.down {
            state.down = true;
            tracing::warn!(why, "lost the connection to Redis");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_attempts_grows_to_a_second() {
        assert!(pause(0) <= PAUSE_MIN);
        assert!(pause(100) <= PAUSE_MAX);
        assert!(PAUSE_MAX / 2 <= pause(100));
    }
}
