//! A primary with its replicas, and three sentinels that watch them.

use std::time::{Duration, Instant};

use crate::info::until;
use crate::server::{Builder, RedisServer};

/// What the sentinels call the servers that they watch.
const SERVICE: &str = "shop";
const SENTINELS: usize = 3;
/// A server that is silent for so long is replaced.
const DOWN_AFTER: Duration = Duration::from_millis(1500);
/// More than a failover that goes well takes on a slow machine.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A primary, its replicas and three sentinels; all of them end when it is dropped.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts a primary with so many replicas, all with the settings of `server`, and waits until the sentinels know
    /// each of them and each other. Where `server` has a password or TLS, all have them, and use them among themselves.
    ///
    /// # Panics
    /// Where they cannot be started, or do not find each other in time.
    pub async fn start(server: Builder, replicas: usize) -> Self {
        let mut server = server
            .with_tls_among_servers()
            .arg("repl-diskless-sync-delay", "0")
            .arg("repl-ping-replica-period", "1");
        let mut sentinel = server.sentinel();
        if let Some(password) = server.password().map(str::to_owned) {
            server = server.arg("masterauth", &password);
            sentinel = sentinel.arg("sentinel sentinel-pass", &password);
        }
        let primary = server.clone().start().await;
        let port = primary.announced_port();
        let mut servers = vec![primary];
        for _ in 0..replicas {
            let replica = server
                .clone()
                .arg("replicaof", &format!("127.0.0.1 {port}"));
            servers.push(replica.start().await);
        }
        let ms = DOWN_AFTER.as_millis();
        sentinel = sentinel
            .arg("sentinel monitor", &format!("{SERVICE} 127.0.0.1 {port} 2"))
            .arg(
                "sentinel down-after-milliseconds",
                &format!("{SERVICE} {ms}"),
            )
            .arg("sentinel failover-timeout", &format!("{SERVICE} 3000"));
        if let Some(password) = server.password() {
            sentinel = sentinel.arg("sentinel auth-pass", &format!("{SERVICE} {password}"));
        }
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(sentinel.clone().start().await);
        }
        let all = Self { servers, sentinels };
        all.until_they_know_each_other(replicas).await;
        all
    }

    async fn until_they_know_each_other(&self, replicas: usize) {
        for replica in &self.servers[1..] {
            until("a replica follows", async || {
                replica.follows().await.then_some(())
            })
            .await;
        }
        for sentinel in &self.sentinels {
            // Faster than they would by themselves. One that finds its machine slow would do nothing for half a minute.
            let hurry = [
                "SENTINEL",
                "DEBUG",
                "info-period",
                "500",
                "publish-period",
                "200",
                "tilt-period",
                "1000",
            ];
            // Those of Redis 6.2 cannot hurry.
            let _ = sentinel.cli::<()>(&hurry).await;
        }
        for sentinel in &self.sentinels {
            until(
                "the sentinels know all servers and each other",
                async || {
                    let words: Vec<String> =
                        sentinel.cli(&["SENTINEL", "MASTER", SERVICE]).await.ok()?;
                    let field = |name: &str| {
                        let at = words.iter().position(|word| word == name)?;
                        words.get(at + 1)?.parse::<usize>().ok()
                    };
                    let known = (field("num-slaves")?, field("num-other-sentinels")?);
                    (known == (replicas, SENTINELS - 1)).then_some(())
                },
            )
            .await;
        }
    }

    /// Where to connect, with the password if one is set.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.announced_port()))
            .collect();
        let first = &self.sentinels[0];
        let (scheme, user) = (first.scheme(), first.user());
        format!("{scheme}+sentinel://{user}{}/{SERVICE}", hosts.join(","))
    }

    /// The servers, whatever each of them is at present.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that the sentinels name, once it is the primary and most of them agree.
    ///
    /// # Panics
    /// Where they do not agree in time.
    pub async fn primary(&self) -> &RedisServer {
        until("the sentinels name one primary", async || {
            let mut named = Vec::new();
            for sentinel in &self.sentinels {
                named.extend(named_by(sentinel).await);
            }
            let most = |port: &u16| SENTINELS < 2 * named.iter().filter(|n| *n == port).count();
            let port = *named.iter().find(|port| most(port))?;
            let server = self
                .servers
                .iter()
                .find(|server| server.announced_port() == port)?;
            server.is_primary().await.then_some(server)
        })
        .await
    }

    /// Waits until every other server follows the primary, as after the return of one that was replaced.
    ///
    /// # Panics
    /// Where one does not in time.
    pub async fn until_all_follow(&self) {
        let primary = self.primary().await.port();
        for server in &self.servers {
            until("a server follows the primary", async || {
                (server.port() == primary || server.follows().await).then_some(())
            })
            .await;
        }
    }

    /// Waits until another server than `old` is the primary by all sentinels.
    ///
    /// # Panics
    /// Where none is promoted in time.
    pub async fn successor_of(&self, old: &RedisServer) -> &RedisServer {
        until("another server is promoted", async || {
            self.has_succeeded(old).await
        })
        .await
    }

    /// The server that is the primary by all sentinels, unless that is `old`.
    async fn has_succeeded(&self, old: &RedisServer) -> Option<&RedisServer> {
        let mut successor = None;
        for sentinel in &self.sentinels {
            let port = named_by(sentinel).await?;
            if port == old.announced_port() || successor.is_some_and(|other| other != port) {
                return None;
            }
            successor = Some(port);
        }
        let server = self
            .servers
            .iter()
            .find(|server| Some(server.announced_port()) == successor)?;
        server.is_primary().await.then_some(server)
    }

    /// Lets a replica take over that has everything: writes are refused until it has. Answers the new primary.
    ///
    /// # Panics
    /// Where the servers or the sentinels do not do as they are told.
    pub async fn fail_over(&self) -> &RedisServer {
        let old = self.primary().await;
        // Refused and not paused: a paused primary does not even hear of its successor.
        refuse_writes(old, "99").await;
        for replica in &self.servers {
            if replica.port() != old.port() && replica.follows().await {
                old.replicated_to(replica).await;
            }
        }
        let mut asked: Option<Instant> = None;
        let new = until("a replica takes over", async || {
            // A sentinel that is slow gives it up, and nobody begins again by himself, as the primary is well.
            if asked.is_none_or(|at| ASK_AGAIN < at.elapsed()) {
                let ask = ["SENTINEL", "FAILOVER", SERVICE];
                let taken: Result<(), _> = self.sentinels[0].cli(&ask).await;
                asked = taken.ok().map(|()| Instant::now());
            }
            self.has_succeeded(old).await
        })
        .await;
        until("the old primary follows the new one", async || {
            old.follows().await.then_some(())
        })
        .await;
        refuse_writes(old, "0").await;
        new
    }
}

/// Refuses them unless there are so many replicas.
async fn refuse_writes(server: &RedisServer, unless: &str) {
    let refuse = ["CONFIG", "SET", "min-replicas-to-write", unless];
    server.cli::<()>(&refuse).await.expect("the server answers");
}

async fn named_by(sentinel: &RedisServer) -> Option<u16> {
    let asked = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
    let (_, port): (String, u16) = asked.await.ok()?;
    Some(port)
}
