//! How the broker at an address is reached, besides by its address.

use std::time::Duration;

use lovage_core::AccessFiles;
use lovage_worker::cli::{BrokerArgs, ConnectFailure};

use crate::any_broker::AnyBroker;
use crate::error::ConnectError;

/// The longest that the making of a connection takes, as the Redis broker has it.
#[cfg(feature = "redis")]
const CONNECT_TIMEOUT_MAX: Duration = lovage_core::secs(2);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// One broker can serve several systems that do not see each other.
    pub(crate) namespace: Option<String>,
    /// The secrets and certificates, of which the broker inside this process has no need.
    pub(crate) files: AccessFiles,
    /// How long an answer, or a new connection, may take before the connection counts as broken.
    pub(crate) patience: Option<Duration>,
}

impl Reach {
    #[cfg(feature = "redis")]
    pub(crate) fn redis(&self, address: &str) -> lovage_broker_redis::RedisConfig {
        let mut config = lovage_broker_redis::RedisConfig::new(address).files(self.files.clone());
        if let Some(namespace) = &self.namespace {
            config = config.namespace(namespace);
        }
        if let Some(patience) = self.patience {
            // A caller who gives up while a connection is being made cannot know that nothing was sent, and the attempt
            // that was dropped is no reason for the next one to wait.
            config = config
                .response_timeout(patience)
                .connect_timeout(patience.min(CONNECT_TIMEOUT_MAX));
        }
        config
    }
}

/// Connects as the flags of a program say.
pub(crate) async fn connect_by(args: &BrokerArgs) -> Result<AnyBroker, ConnectFailure> {
    let reach = Reach {
        namespace: Some(args.namespace().to_owned()),
        files: args.files(),
        patience: None,
    };
    AnyBroker::connect_with(args.url(), &reach)
        .await
        .map_err(|error| match error {
            ConnectError::Unreachable(_) => ConnectFailure::ForNow(error.into()),
            _ => ConnectFailure::ForGood(error.into()),
        })
}
