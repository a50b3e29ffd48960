//! A cluster of three primaries with a replica each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisResult};

use crate::info::until;
use crate::server::{Builder, RedisServer};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
/// An introduction takes milliseconds where it takes.
const INTRODUCE_AGAIN: Duration = Duration::from_secs(2);
/// A replica gives up to take over by itself after five seconds.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(6);

/// Six nodes; all of them end when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The first three began as primaries, the others as their replicas, in the same order.
    nodes: Vec<RedisServer>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts a cluster whose nodes count as down when they are silent for `node_timeout`.
    ///
    /// # Panics
    /// Where it does not come together in time.
    pub async fn start(node_timeout: Duration) -> Self {
        Self::of(RedisServer::builder(), node_timeout).await
    }

    /// Starts one whose nodes have the settings of `server`. Where it has TLS, they use it among themselves.
    ///
    /// # Panics
    /// Where it does not come together in time.
    pub async fn of(server: Builder, node_timeout: Duration) -> Self {
        let builder = server
            .with_tls_among_servers()
            .node()
            .arg(
                "cluster-node-timeout",
                &node_timeout.as_millis().to_string(),
            )
            // A replica takes over however long it has heard nothing.
            .arg("cluster-replica-validity-factor", "0")
            .arg("repl-diskless-sync-delay", "0")
            .arg("repl-ping-replica-period", "1");
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(builder.clone().start().await);
        }
        let mut ids = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            // While it knows no other: two of the same epoch would have to agree first.
            let epoch = (place + 1).to_string();
            ask::<()>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            ids.push(ask(node, &["CLUSTER", "MYID"]).await);
        }
        let cluster = Self { nodes, ids };
        cluster.form().await;
        cluster
    }

    /// Introduces all nodes to each other, again where it did not take: of two that introduce themselves at the same
    /// instant it can happen that one alone knows the other, for good.
    async fn introduce(&self) {
        let mut asked: Option<Instant> = None;
        until("all nodes know each other", async || {
            let mut strangers = Vec::new();
            for node in &self.nodes {
                let info: String = node.cli(&["CLUSTER", "INFO"]).await.ok()?;
                if !info.contains(&self.all_known()) {
                    strangers.push(node);
                }
            }
            if strangers.is_empty() {
                return Some(());
            }
            if asked.is_none_or(|at| INTRODUCE_AGAIN < at.elapsed()) {
                asked = Some(Instant::now());
                for stranger in strangers {
                    let port = stranger.announced_port().to_string();
                    for node in &self.nodes {
                        if node.port() != stranger.port() {
                            ask::<()>(node, &["CLUSTER", "MEET", "127.0.0.1", &port]).await;
                        }
                    }
                }
            }
            None
        })
        .await;
    }

    fn all_known(&self) -> String {
        format!("cluster_known_nodes:{}", self.nodes.len())
    }

    async fn form(&self) {
        self.introduce().await;
        for place in 0..PRIMARIES {
            let mut add = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
            let slots = place * SLOTS / PRIMARIES..(place + 1) * SLOTS / PRIMARIES;
            add.extend(slots.map(|slot| slot.to_string()));
            ask::<()>(&self.nodes[place], &add).await;
        }
        for (place, replica) in self.nodes.iter().enumerate().skip(PRIMARIES) {
            until("a replica knows its primary", async || {
                let id = &self.ids[place - PRIMARIES];
                let told: RedisResult<()> = replica.cli(&["CLUSTER", "REPLICATE", id]).await;
                told.ok()
            })
            .await;
        }
        self.until_whole().await;
    }

    /// Waits until each node sees a whole cluster, and each primary has a replica that follows it.
    ///
    /// # Panics
    /// Where it is not whole in time.
    pub async fn until_whole(&self) {
        for node in &self.nodes {
            until(
                "every node sees three primaries with a replica",
                async || {
                    let info: String = node.cli(&["CLUSTER", "INFO"]).await.ok()?;
                    let whole = info.contains("cluster_state:ok");
                    let known = info.contains(&self.all_known());
                    if !whole || !known || !(node.is_primary().await || node.follows().await) {
                        return None;
                    }
                    let slots: Vec<Vec<redis::Value>> =
                        node.cli(&["CLUSTER", "SLOTS"]).await.ok()?;
                    // From, to, the primary, its replica.
                    (slots.iter().all(|range| range.len() == 4)).then_some(())
                },
            )
            .await;
        }
    }

    /// Where to connect; the nodes tell each other's addresses.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.announced_port()))
            .collect();
        format!("{}+cluster://{}", self.nodes[0].scheme(), hosts.join(","))
    }

    /// All nodes, whatever each of them is at present.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> u16 {
        let first = until("a node answers", async || {
            self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).await.ok()
        });
        first.await
    }

    /// The primary that has a slot, by the words of most nodes that answer.
    ///
    /// # Panics
    /// Where they do not agree in time.
    pub async fn owner(&self, slot: u16) -> &RedisServer {
        until("most nodes name one owner of a slot", async || {
            let mut votes: HashMap<String, usize> = HashMap::new();
            for node in &self.nodes {
                if let Some(id) = owner_by(node, slot).await {
                    *votes.entry(id).or_default() += 1;
                }
            }
            let (id, _) = votes.into_iter().find(|(_, votes)| PRIMARIES < *votes)?;
            let node = self.node(&id)?;
            node.is_primary().await.then_some(node)
        })
        .await
    }

    /// The replica of a primary.
    ///
    /// # Panics
    /// Where it has none in time.
    pub async fn replica_of(&self, primary: &RedisServer) -> &RedisServer {
        let port = primary.announced_port().to_string();
        until("a primary has a replica", async || {
            for node in &self.nodes {
                let info = node.info("replication").await;
                if info.get("master_port") == Some(&port) && node.follows().await {
                    return Some(node);
                }
            }
            None
        })
        .await
    }

    /// Waits until another node than `old` has a slot.
    ///
    /// # Panics
    /// Where none takes over in time.
    pub async fn successor_of(&self, old: &RedisServer, slot: u16) -> &RedisServer {
        until("another node has the slot", async || {
            let owner = self.owner(slot).await;
            (owner.port() != old.port()).then_some(owner)
        })
        .await
    }

    /// Lets the replica of a slot's primary take over, once it has everything. Answers the new primary.
    ///
    /// # Panics
    /// Where it does not in time.
    pub async fn fail_over(&self, slot: u16) -> &RedisServer {
        let old = self.owner(slot).await;
        let replica = self.replica_of(old).await;
        let mut asked: Option<Instant> = None;
        until("a replica takes over", async || {
            let owner = self.owner(slot).await;
            if owner.port() != old.port() {
                return Some(owner);
            }
            if asked.is_none_or(|at| GIVEN_UP_AFTER < at.elapsed()) {
                asked = Some(Instant::now());
                ask::<()>(replica, &["CLUSTER", "FAILOVER"]).await;
            }
            None
        })
        .await
    }

    /// Begins to move a slot to the primary `to`: its keys are on both sides until the move ends.
    pub async fn begin_move(&self, slot: u16, to: &RedisServer) -> SlotMove<'_> {
        let from = self.owner(slot).await;
        let to = self
            .node(self.id(to))
            .expect("it is a node of this cluster");
        let text = slot.to_string();
        ask::<()>(
            to,
            &["CLUSTER", "SETSLOT", &text, "IMPORTING", self.id(from)],
        )
        .await;
        ask::<()>(
            from,
            &["CLUSTER", "SETSLOT", &text, "MIGRATING", self.id(to)],
        )
        .await;
        SlotMove {
            cluster: self,
            slot: text,
            from,
            to,
        }
    }

    fn node(&self, id: &str) -> Option<&RedisServer> {
        let place = self.ids.iter().position(|other| other == id)?;
        self.nodes.get(place)
    }

    fn id(&self, node: &RedisServer) -> &str {
        let place = self
            .nodes
            .iter()
            .position(|other| other.port() == node.port());
        &self.ids[place.expect("it is a node of this cluster")]
    }
}

/// A slot on its way from one primary to another.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl SlotMove<'_> {
    /// Moves up to `max` keys. Answers whether there may be more.
    pub async fn keys(&self, max: usize) -> bool {
        let max = max.to_string();
        let keys: Vec<String> =
            ask(self.from, &["CLUSTER", "GETKEYSINSLOT", &self.slot, &max]).await;
        if keys.is_empty() {
            return false;
        }
        let port = self.to.port().to_string();
        let mut migrate: Vec<&str> = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
        migrate.extend(keys.iter().map(String::as_str));
        ask::<()>(self.from, &migrate).await;
        true
    }

    /// Moves what is left, and tells all primaries who has the slot now.
    pub async fn finish(self) {
        while self.keys(100).await {}
        let id = self.cluster.id(self.to);
        let others = self.cluster.nodes.iter();
        let others =
            others.filter(|node| ![self.from.port(), self.to.port()].contains(&node.port()));
        for node in [self.to, self.from].into_iter().chain(others) {
            if node.is_primary().await {
                ask::<()>(node, &["CLUSTER", "SETSLOT", &self.slot, "NODE", id]).await;
            }
        }
    }
}

/// Asks a node that must answer.
async fn ask<T: FromRedisValue>(node: &RedisServer, words: &[impl AsRef<[u8]>]) -> T {
    match node.cli(words).await {
        Ok(answer) => answer,
        Err(error) => {
            let command = words
                .iter()
                .take(5)
                .map(|word| String::from_utf8_lossy(word.as_ref()));
            let command: Vec<_> = command.collect();
            panic!(
                "{}: {error}; its log ends:\n{}",
                command.join(" "),
                node.log_tail()
            )
        }
    }
}

/// The id of the primary that has a slot, by the words of `node`.
async fn owner_by(node: &RedisServer, slot: u16) -> Option<String> {
    type Node = (String, u16, String);
    let ranges: Vec<Vec<redis::Value>> = node.cli(&["CLUSTER", "SLOTS"]).await.ok()?;
    ranges.into_iter().find_map(|range| {
        let mut range = range.into_iter();
        let (from, to): (u16, u16) = (number(range.next()?)?, number(range.next()?)?);
        if !(from..=to).contains(&slot) {
            return None;
        }
        let redis::Value::Array(mut primary) = range.next()? else {
            return None;
        };
        primary.truncate(3);
        let (_, _, id): Node = redis::from_redis_value(redis::Value::Array(primary)).ok()?;
        Some(id)
    })
}

fn number(value: redis::Value) -> Option<u16> {
    redis::from_redis_value(value).ok()
}
