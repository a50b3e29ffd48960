//! How long an identity has its lease.

use std::time::Duration;

use lovage_core::Millis;

use crate::history::Event;

/// Of one identity.
#[derive(Clone, Copy, Default)]
pub(super) struct Lease {
    /// By the broker's clock.
    pub(super) until: Millis,
    /// By the time that has really passed. Where the broker's clock is set back, its lease follows it: no sooner than this.
    pub(super) over: Duration,
}

impl Lease {
    pub(super) fn lasts(self, event: &Event) -> bool {
        event.now < self.until && event.at < self.over
    }
}
