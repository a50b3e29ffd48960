//! The nodes of a cluster: a connection each, and the map of the slots that says which one a command goes to.
//!
//! A command is sent a second time only where a node answered that another has the slot (MOVED): nothing has happened
//! then. All else is the caller's to repeat, who knows whether that is safe (docs/decisions/009).
//!
//! The map is read anew, behind the commands, after each sign that it is old: a redirection, a node that is lost or
//! cannot be reached, a cluster that is down.

mod map;
mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{BrokerError, TransportError};
use redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, RedisError, Value};
use tokio::time::Instant;

use self::map::Map;
use self::slots::{Address, Shard, read_shards, slot_of};
use crate::acl::Missing;
use crate::config::{ConnectError, RedisConfig};
use crate::connection::{Connection, pause};
use crate::error::{Failed, connect_error, spoils_connection};
use crate::keys::absent;
use crate::script::{Call, Script};
use crate::site::at;

/// How often one command is redirected. Once is usual; more of them only while slots move faster than they are told.
const REDIRECTIONS_MAX: u32 = 5;
/// Nodes that are asked for the map at the same time: the first that answers is believed.
const ASKED_AT_ONCE: usize = 3;
/// Nodes that are asked before the map is given up for now.
const ASKED_MAX: usize = 12;

/// See the module.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    config: RedisConfig,
    seeds: Vec<ConnectionInfo>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    map: Map<Arc<Connection>>,
    reading: bool,
    /// No reading begins before.
    pause_until: Option<Instant>,
    /// Readings in a row that failed or told nothing new.
    futile: u32,
}

impl Cluster {
    /// Nothing is connected yet.
    pub(crate) fn new(seeds: Vec<ConnectionInfo>, config: &RedisConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                seeds,
                state: Mutex::default(),
            }),
        }
    }

    /// Reads the map, and checks the version of the first primary that can be reached.
    pub(crate) async fn connect(&self) -> Result<(), ConnectError> {
        self.shared.read_map().await?;
        let mut failure = ConnectError::Unreachable(TransportError::new("no node has any slots"));
        let primaries = self.shared.lock().map.primaries();
        for address in primaries {
            match self.shared.node(&address).connect().await {
                Ok(_) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// What the user lacks at some primary that can be reached.
    pub(crate) async fn missing(&self) -> Option<Missing> {
        let primaries = self.shared.lock().map.primaries();
        for address in primaries {
            if let Ok(Some(missing)) = self.shared.node(&address).missing().await {
                return Some(missing);
            }
        }
        None
    }

    /// Calls a script at the node that has its first key.
    pub(crate) async fn run(
        &self,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<Value, BrokerError> {
        let first_key = Call::first_key(&fill);
        let slot = slot_of(first_key.as_bytes());
        let absent = absent(&first_key);
        let fill = |call: &mut Call| {
            call.also(&absent);
            fill(call);
        };
        let mut redirections = 0;
        loop {
            let (address, node) = self.shared.owner(slot)?;
            match node.call(script, &fill).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => self.again(slot, &address, failed, &mut redirections)?,
            }
        }
    }

    /// Sends one command to the node that has its first key, which stands behind its name.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value, BrokerError> {
        let key = match command.args_iter().nth(1) {
            Some(redis::Arg::Simple(key)) => key,
            _ => &[],
        };
        let slot = slot_of(key);
        let mut redirections = 0;
        loop {
            let (address, node) = self.shared.owner(slot)?;
            match node.send_one(command).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => self.again(slot, &address, failed, &mut redirections)?,
            }
        }
    }

    /// Sends one command to the primary of this number, by their addresses.
    pub(crate) async fn at(
        &self,
        number: usize,
        command: &Cmd,
    ) -> Result<Option<(String, Value)>, BrokerError> {
        let mut primaries = self.shared.lock().map.primaries();
        primaries.sort_unstable_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        let Some(address) = primaries.get(number) else {
            return Ok(None);
        };
        let node = self.shared.node(address);
        let answer = node.send_one(command).await?;
        Ok(Some((format!("{}:{}", address.host, address.port), answer)))
    }

    /// Where the node is that has `key`.
    pub(crate) fn server_of(&self, key: &str) -> Result<ConnectionInfo, BrokerError> {
        let (address, _) = self.shared.owner(slot_of(key.as_bytes()))?;
        Ok(self.shared.info(&address))
    }

    /// Where some node is, which may be down: another one each time. Messages are told to all of them.
    pub(crate) fn any_server(&self) -> ConnectionInfo {
        let known = self.shared.lock().map.all();
        match fastrand::choice(&known) {
            Some(address) => self.shared.info(address),
            None => self.shared.seeds[fastrand::usize(..self.shared.seeds.len())].clone(),
        }
    }

    /// Takes note of what a listener met at the node that had `key`; of no answer at all where there is no error.
    pub(crate) fn met(&self, key: &str, server: &ConnectionInfo, error: Option<&RedisError>) {
        let slot = slot_of(key.as_bytes());
        let own = server.addr().to_string();
        let own = own.rsplit_once(':').map_or("", |(host, _)| host);
        match error {
            Some(error) => {
                self.shared.note(slot, own, error);
            }
            None => self.shared.doubt(),
        }
    }

    /// Whether a failed command is to be sent again; otherwise its error.
    fn again(
        &self,
        slot: u16,
        asked: &Address,
        failed: Failed,
        redirections: &mut u32,
    ) -> Result<(), BrokerError> {
        let moved = match &failed {
            Failed::Connecting(_) => {
                self.shared.doubt();
                false
            }
            Failed::Command(error) | Failed::Denied(error, _) => {
                self.shared.note(slot, &asked.host, error)
            }
        };
        *redirections += 1;
        if moved && *redirections <= REDIRECTIONS_MAX {
            Ok(())
        } else {
            Err(failed.into())
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same user, password and TLS as the URL has, whatever node it is.
    fn info(&self, address: &Address) -> ConnectionInfo {
        at(&self.seeds[0], &address.host, address.port)
    }

    fn owner(self: &Arc<Self>, slot: u16) -> Result<(Address, Arc<Connection>), BrokerError> {
        let address = self.lock().map.owner(slot).cloned();
        let Some(address) = address else {
            self.doubt();
            return Err(BrokerError::Refused(TransportError::new(format!(
                "no node is known that has slot {slot}"
            ))));
        };
        let node = self.node(&address);
        Ok((address, node))
    }

    fn node(&self, address: &Address) -> Arc<Connection> {
        let mut state = self.lock();
        if let Some(node) = state.map.node(address) {
            return node.clone();
        }
        let node = Arc::new(Connection::to(self.info(address), &self.config));
        state.map.keep(address.clone(), node.clone());
        node
    }

    /// Takes note of an error. True if another node has the slot, which is known now.
    fn note(self: &Arc<Self>, slot: u16, host: &str, error: &RedisError) -> bool {
        let owner = match (error.code(), error.redirect_node()) {
            (Some("MOVED"), Some((address, _))) => Address::read(address, host),
            _ => None,
        };
        if let Some(owner) = owner {
            self.lock().map.moved(slot, owner);
            self.doubt();
            return true;
        }
        if spoils_connection(error) || error.code() == Some("CLUSTERDOWN") {
            self.doubt();
        }
        false
    }

    /// Reads the map anew, in the background, unless that is being done or was done just now.
    fn doubt(self: &Arc<Self>) {
        let reading = {
            let mut state = self.lock();
            let early = state
                .pause_until
                .is_some_and(|until| Instant::now() < until);
            if state.reading || early {
                return;
            }
            state.reading = true;
            Reading(self.clone())
        };
        tokio::spawn(async move {
            if let Err(error) = reading.0.read_map().await {
                tracing::debug!(%error, "no node of the cluster told its slots");
            }
        });
    }

    async fn read_map(&self) -> Result<(), ConnectError> {
        let read = self.ask_nodes().await;
        let mut state = self.lock();
        let news = match &read {
            Ok(shards) => state.map.replace(shards.clone()),
            Err(_) => false,
        };
        state.futile = if news {
            0
        } else {
            state.futile.saturating_add(1)
        };
        state.pause_until = Some(Instant::now() + pause(state.futile));
        read.map(drop)
    }

    /// Asks some nodes at a time until one answers: the known ones, in any order, then those of the URL.
    async fn ask_nodes(&self) -> Result<Vec<Shard>, ConnectError> {
        let mut known = self.lock().map.all();
        fastrand::shuffle(&mut known);
        let known = known.iter().map(|address| self.info(address));
        let nodes: Vec<ConnectionInfo> = known
            .take(ASKED_MAX)
            .chain(self.seeds.iter().cloned())
            .collect();
        let mut failure = None;
        for some in nodes.chunks(ASKED_AT_ONCE) {
            let asked = some.iter().map(|node| Box::pin(self.ask(node.clone())));
            match futures_util::future::select_ok(asked).await {
                Ok((shards, _)) => return Ok(shards),
                // What passes by itself counts before what somebody must mend.
                Err(error) if !matches!(failure, Some(ConnectError::Unreachable(_))) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failure.expect("a site names at least one node"))
    }

    async fn ask(&self, node: ConnectionInfo) -> Result<Vec<Shard>, ConnectError> {
        let asked = match node.addr() {
            redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => {
                host.clone()
            }
            _ => String::new(),
        };
        // Halves, so that it all takes no longer than a connection may.
        let limit: Duration = self.config.connect_timeout / 2;
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let client = self.config.access.client(node)?;
        let failed = |error| connect_error(error, client.get_connection_info());
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .map_err(failed)?;
        let answer = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query_async(&mut connection)
            .await;
        let shards = read_shards(&answer.map_err(failed)?, &asked);
        if shards.is_empty() {
            return Err(ConnectError::Unreachable(TransportError::new(format!(
                "the node {asked} knows of no slots"
            ))));
        }
        Ok(shards)
    }
}

/// A reading in the background: another one may begin when it has ended, however it did.
struct Reading(Arc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.lock().reading = false;
    }
}
