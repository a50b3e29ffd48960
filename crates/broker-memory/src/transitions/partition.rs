//! Divides the queue, which is only remembered: one process has no use for several places.

use lovage_core::{Partitioned, Partitions};

use crate::queue::Queue;

impl Queue {
    pub(crate) fn partition(&mut self, partitions: Partitions) -> Partitioned {
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
        self.partitions = partitions;
        Partitioned::Done
    }
}
