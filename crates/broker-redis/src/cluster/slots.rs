//! Which slot a key is in, and which node has it by the words of one of them.

use std::fmt;
use std::ops::RangeInclusive;

use redis::Value;

use crate::reply::number;

pub(super) const SLOTS: u16 = 16_384;

/// Where a node is reached, as nodes announce it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `HOST:PORT`. A node that does not know the host of another means its own.
    pub(super) fn read(text: &str, own: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self {
            host: if host.is_empty() { own } else { host }.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The nodes of a range of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) slots: RangeInclusive<u16>,
    pub(super) primary: Address,
    pub(super) replicas: Vec<Address>,
}

/// The slot of a key: that of its hash tag, if it has one.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let find = |bytes: &[u8], byte: u8| bytes.iter().position(|found| *found == byte);
    let tag = find(key, b'{').and_then(|open| {
        let rest = &key[open + 1..];
        find(rest, b'}')
            .filter(|length| *length != 0)
            .map(|length| &rest[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16 of XMODEM, as the specification of Redis Cluster wants it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// Reads the answer to `CLUSTER SLOTS` of a node that was reached at `asked`. What it cannot tell the address of is left
/// out.
pub(super) fn read_shards(answer: &Value, asked: &str) -> Vec<Shard> {
    items(answer)
        .iter()
        .filter_map(|shard| {
            let shard = items(shard);
            let bound = |at: usize| u16::try_from(number(shard.get(at)?)?).ok();
            let mut nodes = shard.iter().skip(2).map(|node| read_node(node, asked));
            Some(Shard {
                slots: bound(0)?..=bound(1)?,
                primary: nodes.next()??,
                replicas: nodes.flatten().collect(),
            })
        })
        .collect()
}

fn read_node(node: &Value, asked: &str) -> Option<Address> {
    let node = items(node);
    let port = u16::try_from(number(node.get(1)?)?).ok()?;
    let host = match node.first()? {
        Value::Nil => asked,
        host => match text(host)? {
            "" => asked,
            // It is to be reached by its host name and has none.
            "?" => metadata(node.get(3)?, "ip")?,
            host => host,
        },
    };
    Some(Address {
        host: host.to_owned(),
        port,
    })
}

/// What stands behind a name, in a list of names and values or in a map.
fn metadata<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    match value {
        Value::Map(pairs) => pairs
            .iter()
            .find(|(key, _)| text(key) == Some(name))
            .and_then(|(_, value)| text(value)),
        _ => items(value)
            .chunks_exact(2)
            .find(|pair| text(&pair[0]) == Some(name))
            .and_then(|pair| text(&pair[1])),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_of_a_key_is_that_of_its_hash_tag() {
        // As `CLUSTER KEYSLOT` of Redis 7.0 answers.
        for (key, slot) in [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}:bar", 12182),
            ("a{foo}", 12182),
            ("{}foo", 9500),
            ("{lovage:default}:tasks", slot_of(b"lovage:default")),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key:?}");
        }
    }

    #[test]
    fn shards_are_read_with_the_hosts_that_nodes_announce() {
        let word = |text: &str| Value::BulkString(text.into());
        let node = |host: Value, metadata: Vec<Value>| {
            Value::Array(vec![
                host,
                Value::Int(7000),
                word("id"),
                Value::Array(metadata),
            ])
        };
        let hosts = [
            (word("10.0.0.1"), "10.0.0.1:7000"),
            (word(""), "asked:7000"),
            (Value::Nil, "asked:7000"),
            (word("?"), "10.0.0.9:7000"),
        ];
        for (host, expected) in hosts {
            let answer = Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(5460),
                node(host, vec![word("ip"), word("10.0.0.9")]),
                node(word("10.0.0.2"), Vec::new()),
            ])]);
            let shards = read_shards(&answer, "asked");
            assert_eq!(shards[0].slots, 0..=5460);
            assert_eq!(shards[0].primary.to_string(), expected);
            assert_eq!(shards[0].replicas[0].to_string(), "10.0.0.2:7000");
        }
        assert_eq!(read_shards(&Value::Okay, "asked"), []);
    }

    #[test]
    fn a_redirection_without_a_host_means_the_host_that_gave_it() {
        let address = Address::read(":7001", "10.0.0.1").unwrap();
        assert_eq!(address.to_string(), "10.0.0.1:7001");
        let address = Address::read("::1:7001", "10.0.0.1").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 7001));
        assert_eq!(Address::read("nonsense", "10.0.0.1"), None);
    }
}
