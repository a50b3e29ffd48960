//! What a key is, by its name.

use std::collections::HashMap;

use lovage_core::{LockKey, PARTITIONS_MAX, QueueName, TaskId, WorkerId};

use super::{BeatKeys, Keys};

/// What a key of a namespace holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sort<'a> {
    /// Of a queue, or partition: there is at most one of it.
    OfQueue(QueueName),
    List(QueueName, WorkerId),
    Result(QueueName, TaskId),
    Send(QueueName, TaskId),
    Lock(QueueName, LockKey),
    OfBeat,
    History(&'a str),
    Outbox(&'a str),
    Unknown,
}

/// Tells what keys are. It remembers the queues that it has met.
pub(crate) struct Sorts<'a> {
    namespace: &'a str,
    beat: &'a BeatKeys,
    queues: HashMap<String, Option<(QueueName, Keys)>>,
}

impl<'a> Sorts<'a> {
    pub(crate) fn new(namespace: &'a str, beat: &'a BeatKeys) -> Self {
        Self {
            namespace,
            beat,
            queues: HashMap::new(),
        }
    }

    /// The pattern of all keys of a namespace. No namespace has a character that means something in a pattern.
    pub(crate) fn pattern(&self) -> String {
        format!("{{{}[:}}]*", self.namespace)
    }

    pub(crate) fn sort<'k>(&mut self, key: &'k str) -> Sort<'k> {
        self.known(key).unwrap_or(Sort::Unknown)
    }

    fn known<'k>(&mut self, key: &'k str) -> Option<Sort<'k>> {
        let inside = key.strip_prefix('{')?.strip_prefix(self.namespace)?;
        if inside.starts_with('}') {
            return self.of_beat(key);
        }
        let (queue, _) = inside.strip_prefix(':')?.split_once('}')?;
        if !self.queues.contains_key(queue) {
            let keys = parse(queue).map(|name| {
                let keys = Keys::of(self.namespace, &name);
                (name, keys)
            });
            self.queues.insert(queue.to_owned(), keys);
        }
        let (name, keys) = self.queues.get(queue)?.as_ref()?;
        if let Some(worker) = key.strip_prefix(&keys.actives) {
            return Some(Sort::List(name.clone(), thirty_two(worker)?.parse().ok()?));
        }
        if let Some(id) = key.strip_prefix(&keys.results) {
            return Some(Sort::Result(name.clone(), thirty_two(id)?.parse().ok()?));
        }
        if let Some(id) = key.strip_prefix(&keys.onces) {
            return Some(Sort::Send(name.clone(), thirty_two(id)?.parse().ok()?));
        }
        if let Some(lock) = key.strip_prefix(&keys.uniques) {
            let bytes = *thirty_two(lock)?.parse::<TaskId>().ok()?.as_bytes();
            return Some(Sort::Lock(name.clone(), LockKey::from_bytes(bytes)));
        }
        let is_one = keys.typed().iter().any(|(known, _)| *known == key);
        is_one.then(|| Sort::OfQueue(name.clone()))
    }

    fn of_beat<'k>(&self, key: &'k str) -> Option<Sort<'k>> {
        let beat = self.beat;
        if let Some(name) = key.strip_prefix(&beat.histories) {
            return Some(Sort::History(name));
        }
        if let Some(queue) = key.strip_prefix(&beat.outbox_of) {
            return Some(Sort::Outbox(queue));
        }
        let known = [
            &beat.meta,
            &beat.versions,
            &beat.records,
            &beat.wakes,
            &beat.names,
            &beat.outboxes,
            &beat.bell,
            &beat.standby,
        ];
        known
            .into_iter()
            .any(|known| known == key)
            .then_some(Sort::OfBeat)
    }
}

impl Keys {
    /// The keys of which a queue has at most one, and what they hold.
    pub(crate) fn typed(&self) -> Vec<(&str, &'static str)> {
        let mut typed = vec![
            (self.meta.as_str(), "hash"),
            (&self.tasks, "hash"),
            (&self.scheduled, "zset"),
            (&self.identities, "zset"),
            (&self.suspects, "hash"),
            (&self.dead, "zset"),
            (&self.reasons, "hash"),
            (&self.facts, "hash"),
            (&self.cancels, "set"),
            (&self.ghosts, "hash"),
            (&self.waiting, "hash"),
            (&self.reports, "hash"),
            (&self.losses, "list"),
            (&self.callbacks, "zset"),
            (&self.locks, "hash"),
            (&self.bell, "zset"),
        ];
        typed.extend(self.ready.iter().map(|key| (key.as_str(), "list")));
        typed
    }
}

/// The name of a queue or of a partition.
fn parse(name: &str) -> Option<QueueName> {
    let Some((queue, number)) = name.split_once('#') else {
        return QueueName::parse(name).ok();
    };
    let number = number.parse().ok()?;
    let partition = QueueName::parse(queue).ok()?.partition(number);
    (0 < number && u64::from(number) < u64::from(PARTITIONS_MAX) && partition.as_str() == name)
        .then_some(partition)
}

/// Digits as keys have them: a UUID may be written in other ways as well.
fn thirty_two(digits: &str) -> Option<&str> {
    let is_one = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 32 && digits.bytes().all(is_one)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(key: &str) -> String {
        let beat = BeatKeys::of("shop");
        format!("{:?}", Sorts::new("shop", &beat).sort(key))
    }

    #[test]
    fn keys_are_told_by_their_names() {
        let digits = "0b".repeat(16);
        for (key, expected) in [
            ("{shop:mail}:tasks", "OfQueue(\"mail\")".to_owned()),
            ("{shop:mail#3}:ready:9", "OfQueue(\"mail#3\")".to_owned()),
            (
                &format!("{{shop:a:b}}:active:{digits}"),
                format!("List(\"a:b\", {digits})"),
            ),
            (
                &format!("{{shop:mail}}:unique:{digits}"),
                format!("Lock(\"mail\", {digits})"),
            ),
            (
                &format!("{{shop:mail}}:once:{digits}"),
                format!("Send(\"mail\", {:?})", TaskId::from_bytes([0x0b; 16])),
            ),
            ("{shop:mail}:unique:me", "Unknown".to_owned()),
            ("{shop}:names", "OfBeat".to_owned()),
            ("{shop}:outbox:mail", "Outbox(\"mail\")".to_owned()),
            ("{shop:mail}:ready:10", "Unknown".to_owned()),
            ("{shop:mail#0}:tasks", "Unknown".to_owned()),
            ("{shop:mail#64}:tasks", "Unknown".to_owned()),
            ("{shop:mail}:active:me", "Unknown".to_owned()),
            ("{shopping:mail}:tasks", "Unknown".to_owned()),
            ("{shop:mail", "Unknown".to_owned()),
        ] {
            assert_eq!(sort(key), expected, "{key}");
        }
    }

    /// A key that is added to the protocol, and not here, would be called unknown on every server.
    #[test]
    fn every_documented_key_is_known() {
        let protocol = include_str!("../../../../docs/protocol.md");
        let digits = "0b".repeat(16);
        let mut keys = 0;
        for row in protocol
            .lines()
            .filter(|row| row.starts_with("| `Q:") || row.starts_with("| `B:"))
        {
            let name = row.split('`').nth(1).unwrap();
            let key = name
                .replacen("Q:", "{shop:mail}:", 1)
                .replacen("B:", "{shop}:", 1)
                .replace(":W", &format!(":{digits}"))
                .replace(":ID", &format!(":{digits}"))
                .replace(":KEY", &format!(":{digits}"));
            if name != "Q:absent" {
                assert_ne!(sort(&key), "Unknown", "{name}");
                keys += 1;
            }
        }
        assert!(20 < keys, "{keys} rows were found");
    }
}
