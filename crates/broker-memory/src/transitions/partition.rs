//! Divides the queue, which is only remembered: one process has no use for several places.

use lovage_core::{Millis, Partitioned, Partitions};

use crate::queue::Queue;

impl Queue {
    pub(crate) fn partition(&mut self, partitions: Partitions, now: Millis) -> Partitioned {
        let present = self.partitions;
        if present == partitions {
            return Partitioned::Done;
        }
        if present != Partitions::ONE {
            return Partitioned::Fixed { present };
        }
        if !self.tasks.is_empty() {
            let len = self.tasks.len() as u64;
            return Partitioned::HoldsTasks { len };
        }
        let left = self.locks.remember_until().since(now);
        if !left.is_zero() {
            return Partitioned::RemembersSends { left };
        }
        self.partitions = partitions;
        Partitioned::Done
    }
}
