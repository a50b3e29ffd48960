//! A broker that does not work: said once per change, and left alone for a growing while.

use std::future::Future;
use std::time::Duration;

use lovage_core::{BrokerError, EnqueueError, TransportError, ms, secs};
use tokio::time::timeout;

const PAUSE_MIN: Duration = ms(100);
/// Shorter than a lease: once the broker is back, somebody leads soon.
const PAUSE_MAX: Duration = secs(3);

/// How a part of beat gets on with the broker.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    failures: u32,
    error: Option<String>,
}

impl Trouble {
    /// Notes a failure. Answers how long to leave the broker alone.
    pub(crate) fn failed(&mut self, verb: &'static str, error: &BrokerError) -> Duration {
        if self.failures == 0 {
            if matches!(error, BrokerError::Misconfigured(_)) {
                tracing::error!(verb, %error, "the broker refuses; trying again until somebody acts");
            } else {
                tracing::warn!(verb, %error, "the broker does not work; trying again");
            }
        }
        self.error = Some(error.to_string());
        let pause = backoff(self.failures, PAUSE_MIN, PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// What is wrong; `None` while it works.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.clone()
    }

    /// Notes that it works.
    pub(crate) fn worked(&mut self) {
        self.error = None;
        let failures = std::mem::take(&mut self.failures);
        if 0 < failures {
            tracing::info!(failures, "the broker works again");
        }
    }
}

/// The pause after so many failures: doubled with each, and up to a half shorter by chance, so that those who fail
/// together do not come back together.
pub(crate) fn backoff(failures: u32, min: Duration, max: Duration) -> Duration {
    let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
    let pause = min.saturating_mul(factor).min(max);
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A verb that takes longer than `limit` counts as unknown.
pub(crate) async fn bounded<T>(
    limit: Duration,
    verb: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    timeout(limit, verb).await.unwrap_or_else(|_| {
        let error = TransportError::new(format!("no answer within {limit:?}"));
        Err(BrokerError::Unknown(error))
    })
}

/// The same for what stores tasks.
pub(crate) async fn bounded_enqueue<T>(
    limit: Duration,
    verb: impl Future<Output = Result<T, EnqueueError>>,
) -> Result<T, EnqueueError> {
    timeout(limit, verb).await.unwrap_or_else(|_| {
        let error = TransportError::new(format!("no answer within {limit:?}"));
        Err(EnqueueError::Unknown(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        for (failures, upper) in [(0, ms(100)), (1, ms(200)), (4, ms(1600)), (40, secs(3))] {
            let pause = backoff(failures, PAUSE_MIN, PAUSE_MAX);
            assert!(
                upper / 2 <= pause && pause <= upper,
                "{failures}: {pause:?}"
            );
        }
    }
}
