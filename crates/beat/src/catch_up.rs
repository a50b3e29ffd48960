//! Tells how a beat gets on that finds much to do, as after a time in which no beat ran.

use std::time::Duration;

use lovage_core::secs;
use tokio::time::Instant;

/// Later than this is behind, and worth a word. A fail-over with the default lease is not.
const BEHIND: Duration = secs(10);
const TELL_EVERY: Duration = secs(5);

/// How far a catch-up has come; nothing while there is none.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    going: Option<Going>,
}

#[derive(Debug)]
struct Going {
    since: Instant,
    told: Instant,
    /// What was fired and skipped by then: without progress there is nothing to tell.
    told_of: (u64, u64),
    fired: u64,
    skipped: u64,
}

impl CatchUp {
    /// Notes a look that found the first due schedule so far `behind`, and what was done about it.
    pub(crate) fn looked(&mut self, behind: Duration, fired: u64, skipped: u64, more: bool) {
        let now = Instant::now();
        if self.going.is_none() && behind <= BEHIND {
            return;
        }
        let going = self.going.get_or_insert_with(|| {
            tracing::info!(
                ?behind,
                fired,
                skipped,
                "catching up with what no beat has fired"
            );
            Going {
                since: now,
                told: now,
                told_of: (fired, skipped),
                fired: 0,
                skipped: 0,
            }
        });
        going.fired += fired;
        going.skipped += skipped;
        let (fired, skipped) = (going.fired, going.skipped);
        if behind <= BEHIND && !more {
            let took = going.since.elapsed();
            tracing::info!(fired, skipped, ?took, "caught up");
            self.going = None;
        } else if TELL_EVERY <= now.duration_since(going.told) && going.told_of != (fired, skipped)
        {
            (going.told, going.told_of) = (now, (fired, skipped));
            tracing::info!(?behind, fired, skipped, "still catching up");
        }
    }
}
