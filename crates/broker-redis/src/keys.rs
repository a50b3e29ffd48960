//! The only place that spells a key.

use lovage_core::{QueueName, ScheduleName, TaskId, WorkerId};

mod sorts;

pub(crate) use sorts::{Sort, Sorts};

/// The keys of one queue. All share the hash tag `{NAMESPACE:QUEUE}`, hence one Cluster slot.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) meta: String,
    pub(crate) tasks: String,
    pub(crate) ready: [String; 10],
    pub(crate) scheduled: String,
    /// What all processing lists begin with.
    pub(crate) actives: String,
    pub(crate) identities: String,
    pub(crate) suspects: String,
    pub(crate) reports: String,
    pub(crate) losses: String,
    pub(crate) dead: String,
    pub(crate) reasons: String,
    pub(crate) bell: String,
    pub(crate) facts: String,
    pub(crate) cancels: String,
    pub(crate) ghosts: String,
    pub(crate) waiting: String,
    pub(crate) callbacks: String,
    /// What all results begin with.
    pub(crate) results: String,
    /// The keys that tasks hold, held or want to hold again.
    pub(crate) locks: String,
    /// What all locks begin with.
    pub(crate) uniques: String,
    /// What all that is remembered of idempotent sends begins with.
    pub(crate) onces: String,
}

impl Keys {
    pub(crate) fn of(namespace: &str, queue: &QueueName) -> Self {
        let key = |name: &str| format!("{{{namespace}:{queue}}}:{name}");
        Self {
            meta: key("meta"),
            tasks: key("tasks"),
            ready: std::array::from_fn(|level| key(&format!("ready:{level}"))),
            scheduled: key("scheduled"),
            actives: key("active:"),
            identities: key("identities"),
            suspects: key("suspects"),
            reports: key("reports"),
            losses: key("losses"),
            dead: key("dead"),
            reasons: key("reasons"),
            bell: key("bell"),
            facts: key("facts"),
            cancels: key("cancels"),
            ghosts: key("ghosts"),
            waiting: key("waiting"),
            callbacks: key("callbacks"),
            results: key("result:"),
            locks: key("locks"),
            uniques: key("unique:"),
            onces: key("once:"),
        }
    }

    /// The ready lists of the levels that are used, and the digits of those.
    pub(crate) fn levels(&self, used: [bool; 10]) -> (String, Vec<&str>) {
        let levels = self.ready.iter().zip('0'..='9').zip(used);
        levels
            .filter_map(|((key, digit), used)| used.then_some((digit, key.as_str())))
            .unzip()
    }

    pub(crate) fn active(&self, worker: WorkerId) -> String {
        format!("{}{worker}", self.actives)
    }

    pub(crate) fn result(&self, id: TaskId) -> String {
        let mut key = String::with_capacity(self.results.len() + 32);
        key.push_str(&self.results);
        push_hex(&mut key, id.as_bytes());
        key
    }
}

/// The keys of all schedules. They share the hash tag `{NAMESPACE}`: as a namespace has no colon, no queue has it.
#[derive(Debug)]
pub(crate) struct BeatKeys {
    pub(crate) meta: String,
    pub(crate) versions: String,
    pub(crate) records: String,
    pub(crate) wakes: String,
    pub(crate) names: String,
    /// What all histories begin with.
    pub(crate) histories: String,
    pub(crate) outboxes: String,
    /// What the outboxes of all queues begin with.
    pub(crate) outbox_of: String,
    pub(crate) bell: String,
    pub(crate) standby: String,
}

impl BeatKeys {
    pub(crate) fn of(namespace: &str) -> Self {
        let key = |name: &str| format!("{{{namespace}}}:{name}");
        Self {
            meta: key("meta"),
            versions: key("versions"),
            records: key("records"),
            wakes: key("wakes"),
            names: key("names"),
            histories: key("history:"),
            outboxes: key("outboxes"),
            outbox_of: key("outbox:"),
            bell: key("bell"),
            standby: key("standby"),
        }
    }

    pub(crate) fn history(&self, name: &ScheduleName) -> String {
        format!("{}{name}", self.histories)
    }

    pub(crate) fn outbox(&self, queue: &QueueName) -> String {
        format!("{}{queue}", self.outbox_of)
    }
}

/// A key that never exists, in the slot of another one.
///
/// Each script call names it in a cluster. While a slot moves, a node that has all keys of a call still runs it, and
/// would fail in the midst of it where the script removes one and comes back to it, or where it gets to a key that the
/// call did not name. A call that names an absent key is refused before it begins, on both sides, until the slot has
/// moved.
pub(crate) fn absent(key: &str) -> String {
    let tag = key.split_inclusive('}').next().unwrap_or_default();
    format!("{tag}:{}", "absent")
}

/// Patterns for rules of Redis: the keys called `name` of these queues and their partitions, or of all queues if there are
/// none. No name has a character that means something in a pattern.
pub(crate) fn patterns_of_queue(namespace: &str, queues: &[QueueName], name: &str) -> Vec<String> {
    let pattern = |queue: &str| format!("{{{namespace}:{queue}}}:{name}");
    if queues.is_empty() {
        return vec![pattern("*")];
    }
    let own_and_partitions =
        |queue: &QueueName| [pattern(queue.as_str()), pattern(&format!("{queue}#*"))];
    queues.iter().flat_map(own_and_partitions).collect()
}

/// The same of the keys of schedules.
pub(crate) fn pattern_of_beat(namespace: &str, name: &str) -> String {
    format!("{{{namespace}}}:{name}")
}

/// What the fields of leases in `Q:meta` begin with.
pub(crate) const LEASE_FIELDS: &str = "lease:";
/// The field of `Q:meta` with the bound of the queue.
pub(crate) const BOUND_FIELD: &str = "bound";
/// The field of `Q:meta` with the bound that a division found, until it is shared out.
pub(crate) const WHOLE_BOUND_FIELD: &str = "whole";

/// The field of `Q:meta` with the division of the queue, in its first partition alone.
pub(crate) const PARTITIONS_FIELD: &str = "partitions";

/// The field of a worker's lease in `Q:meta`.
pub(crate) fn lease_field(worker: WorkerId) -> String {
    format!("{LEASE_FIELDS}{worker}")
}

/// What all channels on which outcomes are told begin with.
pub(crate) fn channels(namespace: &str) -> String {
    format!("{namespace}:results:")
}

/// Sixteen bytes as 32 digits, as keys and channels have them.
pub(crate) fn hex(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(32);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8; 16]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_queue_has_its_hash_tag() {
        let queue = QueueName::parse("mail").unwrap();
        let keys = Keys::of("shop", &queue);
        assert_eq!(keys.ready[7], "{shop:mail}:ready:7");
        assert_eq!(
            keys.active(WorkerId::from_bytes([0xab; 16])),
            format!("{{shop:mail}}:active:{}", "ab".repeat(16))
        );
        assert_eq!(
            keys.result(TaskId::from_bytes([1; 16])),
            format!("{{shop:mail}}:result:{}", "01".repeat(16))
        );
    }
    #[test]
    fn schedules_have_a_hash_tag_that_no_queue_has() {
        let keys = BeatKeys::of("shop");
        let queue = QueueName::parse("mail:eu").unwrap();
        assert_eq!(keys.outbox(&queue), "{shop}:outbox:mail:eu");
        let schedule = ScheduleName::parse("report").unwrap();
        assert_eq!(keys.history(&schedule), "{shop}:history:report");
    }
}
