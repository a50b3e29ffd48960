//! Which connection a command goes by, and where other connections are to lead.

use redis::{Cmd, ConnectionInfo, RedisError, Value};

use lovage_core::BrokerError;

use crate::acl::Missing;
use crate::cluster::Cluster;
use crate::config::{ConnectError, RedisConfig};
use crate::connection::Connection;
use crate::keys::absent;
use crate::script::{Call, Script};
use crate::site::Site;

/// The connections of the verbs.
pub(crate) enum Routes {
    /// All commands go to one server, which may be another after a failover.
    One(Box<Connection>),
    /// Each command goes to the node that has its key.
    Cluster(Cluster),
}

impl Routes {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, ConnectError> {
        let one = |connection| Self::One(Box::new(connection));
        Ok(match config.site()? {
            Site::One(info) => one(Connection::to(info, config)),
            Site::Sentinel(site) => one(Connection::to_primary(site, config)),
            Site::Cluster(seeds) => Self::Cluster(Cluster::new(seeds, config)),
        })
    }

    /// Connects, and checks the version of a server.
    pub(crate) async fn connect(&self) -> Result<(), ConnectError> {
        match self {
            Self::One(connection) => connection.connect().await.map(drop),
            Self::Cluster(cluster) => cluster.connect().await,
        }
    }

    /// What the user lacks of what the configuration says that it is for.
    pub(crate) async fn missing(&self) -> Result<Option<Missing>, BrokerError> {
        match self {
            Self::One(connection) => connection.missing().await,
            Self::Cluster(cluster) => Ok(cluster.missing().await),
        }
    }

    /// Calls a script by its hash, and by its text where Redis does not know it.
    pub(crate) async fn run(
        &self,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<Value, BrokerError> {
        match self {
            Self::One(connection) => Ok(connection.call(script, fill).await?),
            Self::Cluster(cluster) => cluster.run(script, fill).await,
        }
    }

    /// Sends one command, whose key stands right behind its name.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value, BrokerError> {
        match self {
            Self::One(connection) => Ok(connection.send_one(command).await?),
            Self::Cluster(cluster) => cluster.command(command).await,
        }
    }

    /// Sends one command to the server of this number, and tells where that is; `None` if there are not so many.
    pub(crate) async fn at(
        &self,
        number: usize,
        command: &Cmd,
    ) -> Result<Option<(String, Value)>, BrokerError> {
        match self {
            Self::One(_) if 0 < number => Ok(None),
            Self::One(connection) => {
                let address = connection.server().await?.addr().to_string();
                Ok(Some((address, connection.send_one(command).await?)))
            }
            Self::Cluster(cluster) => cluster.at(number, command).await,
        }
    }

    /// The server that has `key`.
    pub(crate) async fn server_of(&self, key: &str) -> Result<ConnectionInfo, BrokerError> {
        match self {
            Self::One(connection) => connection.server().await,
            Self::Cluster(cluster) => cluster.server_of(key),
        }
    }

    /// What a script call on another connection must name behind its keys, one of which is `key`.
    pub(crate) fn absent(&self, key: &str) -> Option<String> {
        match self {
            Self::One(_) => None,
            Self::Cluster(_) => Some(absent(key)),
        }
    }

    /// A server at which messages can be heard.
    pub(crate) async fn any_server(&self) -> Result<ConnectionInfo, BrokerError> {
        match self {
            Self::One(connection) => connection.server().await,
            Self::Cluster(cluster) => Ok(cluster.any_server()),
        }
    }

    /// Takes note of what another connection met at the server that had `key`: an error, or nobody at all.
    pub(crate) fn met(&self, key: &str, server: &ConnectionInfo, error: Option<&RedisError>) {
        match self {
            // It finds out by itself.
            Self::One(_) => {}
            Self::Cluster(cluster) => cluster.met(key, server, error),
        }
    }
}
