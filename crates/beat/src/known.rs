//! What a leader has written itself, so that it need not read it again: reading an expression costs ten times what
//! finding its next time does.

use std::collections::HashMap;

use lovage_core::{ScheduleName, StoredSchedule};

use crate::state::{Record, RecordError};

/// The records that are kept; with more, all are forgotten.
const KEPT_MAX: usize = 20_000;
/// The size of the largest that is kept, in bytes as stored: 40 MB in all.
const KEPT_BYTES_MAX: usize = 2048;

/// The last records written, by their names and versions.
#[derive(Debug, Default)]
pub(crate) struct Known {
    records: HashMap<ScheduleName, (u64, Record)>,
}

impl Known {
    /// The record of what was read. It is forgotten here until it is kept again.
    pub(crate) fn read(&mut self, stored: &StoredSchedule) -> Result<Record, RecordError> {
        match self.records.remove(&stored.name) {
            // No version comes twice.
            Some((version, record)) if version == stored.version => Ok(record),
            _ => Record::decode(&stored.name, &stored.record),
        }
    }

    /// Keeps what was written under `version`, in so many bytes.
    pub(crate) fn keep(&mut self, version: u64, record: Record, bytes: usize) {
        if KEPT_BYTES_MAX < bytes {
            return;
        }
        if KEPT_MAX <= self.records.len() {
            self.records.clear();
        }
        let name = record.entry.name.clone();
        self.records.insert(name, (version, record));
    }
}
