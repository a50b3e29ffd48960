//! Waiting for a condition: the only way in which a test here lets time pass.

use std::time::{Duration, Instant};

use lovage_core::{mins, ms};

/// Generous: a machine under load may need many times what an idle one does.
pub const LIMIT: Duration = mins(1);
const LOOK_EVERY: Duration = ms(10);

/// Looks again and again until `look` answers something.
///
/// # Panics
/// After [`LIMIT`], with `what` was awaited.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_ok(what, async || look().await.ok_or_else(String::new)).await
}

/// Looks again and again until `look` answers `Ok`.
///
/// # Panics
/// After [`LIMIT`], with `what` was awaited and what was seen instead.
pub(crate) async fn eventually_ok<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let limit = Instant::now() + LIMIT;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) => assert!(
                Instant::now() < limit,
                "not within {LIMIT:?}: {what}; {seen}"
            ),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks again and again for a whole `span`: what must not happen has this long to happen.
///
/// # Panics
/// As soon as `look` answers `false`.
pub async fn stays(what: &str, span: Duration, mut look: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(look().await, "no longer true: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
