//! One redis-server process: started, killed, frozen and started again by a test.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use redis::{AsyncConnectionConfig, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::launch::{find_server, free_port, free_port_with_bus, signal};
use crate::tls::Certificate;

/// Generous: a machine under load may take seconds to start a process or to read back a large file.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at whether the server answers.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A command of a test that gets no answer for so long never will.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often another process may take the chosen port first.
const PORTS_MAX: usize = 20;

/// A redis-server of one's own on loopback; killed, waited for and its folder removed when dropped.
///
/// Nothing is kept on disk unless the builder says so.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    tls_port: Option<u16>,
    password: Option<String>,
    arguments: Vec<String>,
    folder: TempDir,
    child: Mutex<Child>,
}

/// The settings of a server to be started.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    kind: Kind,
    has_tls: bool,
}

/// What the program is started as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Server,
    Sentinel,
    Node,
}

impl Builder {
    /// Keeps an append-only file, written as `fsync` says: `always`, `everysec` or `no`.
    pub fn appendonly(self, fsync: &str) -> Self {
        self.arg("appendonly", "yes").arg("appendfsync", fsync)
    }

    /// Serves TLS on a port of its own, beside the one without, with a certificate of the server and one authority that
    /// is trusted for those of clients. They are asked for theirs where `asks_clients` is `yes`.
    pub fn tls(mut self, server: &Certificate, authority: &Path, asks_clients: &str) -> Self {
        self.has_tls = true;
        self.arg("tls-cert-file", &server.cert.display().to_string())
            .arg("tls-key-file", &server.key.display().to_string())
            .arg("tls-ca-cert-file", &authority.display().to_string())
            .arg("tls-auth-clients", asks_clients)
    }

    /// Sets one directive of the configuration, as in `redis.conf`. The last one of a name counts.
    pub fn arg(mut self, directive: &str, value: &str) -> Self {
        self.settings
            .push((directive.to_owned(), value.to_string()));
        self
    }

    /// Speaks TLS to other servers as well, where it is served at all.
    pub(crate) fn with_tls_among_servers(self) -> Self {
        if self.has_tls {
            self.arg("tls-replication", "yes").arg("tls-cluster", "yes")
        } else {
            self
        }
    }

    /// Starts a sentinel with the same password and certificates, whose settings stand in a file that it changes.
    pub(crate) fn sentinel(&self) -> Self {
        let shared = |name: &str| name == "requirepass" || name.starts_with("tls-");
        let settings = self.settings.iter().filter(|(name, _)| shared(name));
        Self {
            settings: settings.cloned().collect(),
            kind: Kind::Sentinel,
            has_tls: self.has_tls,
        }
    }

    /// The password that it asks for.
    pub(crate) fn password(&self) -> Option<&str> {
        let mut settings = self.settings.iter();
        let found = settings.rfind(|(name, _)| name == "requirepass");
        found.map(|(_, password)| password.as_str())
    }

    /// Starts a node of a cluster.
    pub(crate) fn node(mut self) -> Self {
        self.kind = Kind::Node;
        self.arg("cluster-enabled", "yes")
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// Where it cannot be started; the message has the reason and the end of its log.
    pub async fn start(self) -> RedisServer {
        match self.try_start().await {
            Ok(server) => server,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// Where there is no program for it, or it ends or stays silent; with the end of its log.
    pub async fn try_start(self) -> Result<RedisServer> {
        let mut refused = None;
        for _ in 0..PORTS_MAX {
            match self.start_on(self.free_port()?).await {
                Err(error) if error.is::<PortTaken>() => refused = Some(error),
                other => return other,
            }
        }
        Err(refused.expect("at least one port was tried"))
    }

    fn free_port(&self) -> Result<u16> {
        match self.kind {
            Kind::Node => free_port_with_bus(),
            Kind::Server | Kind::Sentinel => free_port(),
        }
    }

    async fn start_on(&self, port: u16) -> Result<RedisServer> {
        let folder = TempDir::with_prefix("lovage-redis-").context("no temporary folder")?;
        let tls_port = self.has_tls.then(|| self.free_port()).transpose()?;
        let mut whole = self.clone();
        if let Some(port) = tls_port {
            whole = whole.arg("tls-port", &port.to_string());
        }
        let arguments = match self.kind {
            Kind::Server | Kind::Node => whole.arguments(port, folder.path()),
            Kind::Sentinel => whole.sentinel_arguments(port, folder.path())?,
        };
        let child = spawn(&arguments, folder.path())?;
        let server = RedisServer {
            port,
            tls_port,
            password: self.password().map(str::to_owned),
            arguments,
            folder,
            child: Mutex::new(child),
        };
        server.until_it_answers().await?;
        Ok(server)
    }

    fn arguments(&self, port: u16, folder: &Path) -> Vec<String> {
        let own = [
            ("port", port.to_string()),
            ("bind", "127.0.0.1".to_owned()),
            ("dir", folder.display().to_string()),
            ("daemonize", "no".to_owned()),
            ("save", String::new()),
            ("appendonly", "no".to_owned()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let given = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(given)
            // Redis 6.2 takes what has a space in it for one word.
            .flat_map(|(name, value)| {
                let words = value.split(' ').map(str::to_owned);
                std::iter::once(format!("--{name}")).chain(words)
            })
            .collect()
    }

    fn sentinel_arguments(&self, port: u16, folder: &Path) -> Result<Vec<String>> {
        let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.display());
        for (name, value) in &self.settings {
            writeln!(text, "{name} {value}")?;
        }
        let file = folder.join("sentinel.conf");
        fs::write(&file, text).context("cannot write the settings of a sentinel")?;
        Ok(vec![file.display().to_string(), "--sentinel".to_owned()])
    }
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    ///
    /// # Panics
    /// Where it cannot be started; the message has the reason and the end of its log.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server with settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where to connect, with the password if one is set.
    pub fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// Where to connect by TLS.
    ///
    /// # Panics
    /// Where it serves none.
    pub fn tls_url(&self) -> String {
        let port = self.tls_port.expect("it was built with TLS");
        self.url_by(port)
            .replace("redis://", "rediss://")
            .replace("127.0.0.1", "localhost")
    }

    /// The URL for the same server behind another port.
    pub(crate) fn url_by(&self, port: u16) -> String {
        format!("redis://{}127.0.0.1:{port}", self.user())
    }

    /// What stands before the host in a URL.
    pub(crate) fn user(&self) -> String {
        let password = self.password.as_ref();
        password.map_or_else(String::new, |password| format!(":{password}@"))
    }

    /// How others speak to it where servers speak TLS to each other if they can.
    pub(crate) fn scheme(&self) -> &'static str {
        self.tls_port.map_or("redis", |_| "rediss")
    }

    /// The port by which they do.
    pub(crate) fn announced_port(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the present process.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// The folder with its data and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of what it logged.
    pub fn log_tail(&self) -> String {
        log_tail(self.folder.path())
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    pub fn kill9(&self) {
        let mut child = self.child();
        // Both fail only for a process that has been waited for already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Freezes the process (SIGSTOP): it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Starts the server again on the same port with the same data, and waits until it answers.
    ///
    /// One that still runs is shut down first in its own way (SIGTERM), so that it writes what it keeps.
    ///
    /// # Panics
    /// Where it does not end, or cannot be started again; with the end of its log.
    pub async fn restart(&self) {
        if let Err(error) = self.try_restart().await {
            panic!("{error:#}");
        }
    }

    async fn try_restart(&self) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        if !self.has_ended() {
            signal(self.pid(), "TERM")?;
        }
        while !self.has_ended() {
            self.give_up_after(limit, "does not end after SIGTERM")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        loop {
            let child = spawn(&self.arguments, self.folder.path())?;
            *self.child() = child;
            match self.until_it_answers().await {
                // An outgoing connection of some other process may sit on the port for a moment.
                Err(error) if error.is::<PortTaken>() && Instant::now() < limit => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                other => return other,
            }
        }
    }

    /// Sends one command on a connection of its own: `server.cli::<u64>(&["LLEN", "list"])`.
    ///
    /// # Errors
    /// Where the server refuses it, answers another type, or does not answer within half a minute.
    pub async fn cli<T: FromRedisValue>(&self, words: &[impl AsRef<[u8]>]) -> RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word.as_ref());
        }
        command.query_async(&mut connection).await
    }

    async fn until_it_answers(&self) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            if self.has_ended() {
                let log = self.log_tail();
                if log.contains("Address already in use") {
                    return Err(PortTaken { port: self.port }.into());
                }
                bail!("redis-server ended at once; its log ends:\n{log}");
            }
            if self.answers().await {
                return Ok(());
            }
            self.give_up_after(limit, "does not answer")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether this very process answers, and has read its data. Where two servers race for a port, the loser's
    /// test must not mistake the winner for its own.
    async fn answers(&self) -> bool {
        let Ok(info) = self.cli::<String>(&["INFO", "server"]).await else {
            return false;
        };
        let own = format!("process_id:{}", self.pid());
        info.lines().any(|line| line.trim_end() == own) && self.cli::<()>(&["PING"]).await.is_ok()
    }

    fn has_ended(&self) -> bool {
        !matches!(self.child().try_wait(), Ok(None))
    }

    fn give_up_after(&self, limit: Instant, what: &str) -> Result<()> {
        if limit < Instant::now() {
            bail!(
                "redis-server on port {} {what} within {START_LIMIT:?}; its log ends:\n{}",
                self.port,
                self.log_tail()
            );
        }
        Ok(())
    }

    fn signal(&self, name: &str) {
        if let Err(error) = signal(self.pid(), name) {
            panic!("{error:#}");
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        // A failed test elsewhere must not keep the process from being killed.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Somebody else took the port between its choice and its use.
#[derive(Debug)]
struct PortTaken {
    port: u16,
}

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} is taken", self.port)
    }
}

impl std::error::Error for PortTaken {}

fn spawn(arguments: &[String], folder: &Path) -> Result<Child> {
    let program = find_server()?;
    let log = File::create(folder.join("server.log")).context("cannot write the server's log")?;
    Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

fn log_tail(folder: &Path) -> String {
    let log = fs::read(folder.join("server.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
