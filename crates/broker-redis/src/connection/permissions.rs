//! Whether the user of a connection may do what it must: asked at the start, and of a command that was refused.

use lovage_core::BrokerError;
use redis::{RedisError, RedisResult};

use super::{Connection, Live};
use crate::acl::{Missing, ask, lacking};
use crate::error::{Failed, broker_error, is_denied};

impl Connection {
    /// What the user lacks of what the configuration says that it is for; one call.
    pub(crate) async fn missing(&self) -> Result<Option<Missing>, BrokerError> {
        let live = self.live().await?;
        self.missing_on(&live).await.map_err(broker_error)
    }

    async fn missing_on(&self, live: &Live) -> RedisResult<Option<Missing>> {
        let Some(acl) = &self.config.acl else {
            return Ok(None);
        };
        let acl = acl.clone().namespace(&self.config.namespace);
        let probes = acl.probes();
        let rules = match self.send(live, &ask(&probes)).await {
            Ok(answer) => lacking(probes, answer),
            // One that may not even ask.
            Err(error) if is_denied(&error) => acl.rules(),
            Err(error) => return Err(error),
        };
        let server = self.target.name();
        Ok((!rules.is_empty()).then(|| acl.missing(&live.user, server, rules)))
    }

    /// What a refused command is told as.
    pub(super) async fn failed(&self, live: &Live, error: RedisError) -> Failed {
        if is_denied(&error)
            && let Ok(Some(missing)) = self.missing_on(live).await
        {
            return Failed::Denied(error, missing);
        }
        Failed::Command(error)
    }
}
