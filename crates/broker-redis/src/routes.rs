//! Which connection a command goes by, and where other connections are to lead.

use redis::{Cmd, ConnectionInfo, Value};

use lovage_core::BrokerError;

use crate::config::{ConnectError, RedisConfig};
use crate::connection::Connection;
use crate::script::{Call, Script};
use crate::site::Site;

/// The connections of the verbs.
pub(crate) enum Routes {
    /// All commands go to one server, which may be another after a failover.
    One(Box<Connection>),
}

impl Routes {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, ConnectError> {
        let connection = match config.site()? {
            Site::One(info) => Connection::to(info, config)?,
            Site::Sentinel(site) => Connection::to_primary(&site, config)?,
        };
        Ok(Self::One(Box::new(connection)))
    }

    /// Connects, and checks the version of a server.
    pub(crate) async fn connect(&self) -> Result<(), ConnectError> {
        match self {
            Self::One(connection) => connection.connect().await.map(drop),
        }
    }

    /// Calls a script by its hash, and by its text where Redis does not know it.
    pub(crate) async fn run(
        &self,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<Value, BrokerError> {
        match self {
            Self::One(connection) => connection.run(script, fill).await,
        }
    }

    /// Sends one command.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value, BrokerError> {
        match self {
            Self::One(connection) => connection.command(command).await,
        }
    }

    /// The server that has `key`.
    pub(crate) async fn server_of(&self, _key: &str) -> Result<ConnectionInfo, BrokerError> {
        match self {
            Self::One(connection) => connection.server().await,
        }
    }

    /// A server at which messages can be heard.
    pub(crate) async fn any_server(&self) -> Result<ConnectionInfo, BrokerError> {
        match self {
            Self::One(connection) => connection.server().await,
        }
    }
}
