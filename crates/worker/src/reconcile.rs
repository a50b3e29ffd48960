//! Compares what the broker says we hold with what we hold.
//!
//! A claim whose answer was lost leaves ids with a worker that is alive and has never seen them: they would stay
//! held for as long as it renews its lease. The other way round, it may run what it no longer holds.

use std::collections::HashSet;

use lovage_core::{Fence, TaskId};

/// Ids that the broker says we hold and that we have not seen, until every claim that could bring them has ended.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    ids: Vec<(TaskId, Fence)>,
    /// The last exchange that had begun when they were named.
    exchange: u64,
}

impl Suspects {
    /// Notes the ids of an account; a newer account takes the place of an older one.
    pub(crate) fn name(&mut self, ids: Vec<(TaskId, Fence)>, exchange: u64) {
        *self = Self { ids, exchange };
    }

    /// Those that are ours to release now, if no claim is under way that could still bring them.
    pub(crate) fn convict(
        &mut self,
        under_way: &[u64],
        known: impl FnOnce() -> HashSet<(TaskId, Fence)>,
    ) -> Vec<(TaskId, Fence)> {
        if self.ids.is_empty() || under_way.iter().any(|number| *number <= self.exchange) {
            return Vec::new();
        }
        let known = known();
        let mut ids = std::mem::take(&mut self.ids);
        ids.retain(|held| !known.contains(held));
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::Millis;

    #[test]
    fn an_unknown_id_is_released_only_after_the_claims_that_could_have_brought_it() {
        let fence = |number| Fence {
            number,
            claimed_at: Millis::default(),
        };
        let (lost, coming) = (TaskId::random(), TaskId::random());
        let mut suspects = Suspects::default();
        suspects.name(vec![(lost, fence(1)), (coming, fence(2))], 7);

        let nothing = HashSet::new;
        assert!(
            suspects.convict(&[7, 8], nothing).is_empty(),
            "exchange 7 may bring both"
        );
        let known = || HashSet::from([(coming, fence(2))]);
        assert_eq!(suspects.convict(&[8], known), [(lost, fence(1))]);
        assert!(
            suspects.convict(&[], nothing).is_empty(),
            "they are released once"
        );
    }
}
