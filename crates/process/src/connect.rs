//! Waiting for a broker at the start.

use lovage_core::{Backoff, ms, secs};

/// A broker that is away at the start is asked again after this.
const CONNECT_BACKOFF: Backoff = Backoff::exponential(ms(100)).cap(secs(2));

/// Why a broker could not be connected to.
#[derive(Debug)]
pub enum ConnectFailure {
    /// It is away, or not ready: it is asked again.
    ForNow(anyhow::Error),
    /// Somebody must act: the program does not start.
    ForGood(anyhow::Error),
}

/// Connects, however long the broker is away; it says once that it is.
///
/// # Errors
/// The first failure that is [`ForGood`](ConnectFailure::ForGood).
///
/// # Cancel safety
/// As that of `connect`.
pub async fn connected<B>(
    connect: impl AsyncFn() -> Result<B, ConnectFailure>,
) -> anyhow::Result<B> {
    let mut failures = 0;
    loop {
        match connect().await {
            Ok(broker) => {
                if 0 < failures {
                    tracing::info!("connected");
                }
                return Ok(broker);
            }
            Err(ConnectFailure::ForGood(error)) => return Err(error),
            Err(ConnectFailure::ForNow(error)) => {
                if failures == 0 {
                    tracing::warn!("the broker is away, trying on: {error:#}");
                }
                failures += 1;
                let pause = CONNECT_BACKOFF.delay(failures, fastrand::f64());
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
        let calls = Cell::new(0);
        let connect = async || {
            calls.set(calls.get() + 1);
            match calls.get() {
                1..5 => Err(ConnectFailure::ForNow(anyhow::anyhow!("away"))),
                5 => Ok("there"),
                _ => Err(ConnectFailure::ForGood(anyhow::anyhow!("wrong password"))),
            }
        };
        assert_eq!(connected(connect).await.unwrap(), "there");
        assert_eq!(calls.get(), 5);
        let error = connected(connect).await.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), calls.get()),
            ("wrong password", 6)
        );
    }
}
