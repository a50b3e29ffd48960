//! Which node has which slot, as far as is known, and the connections to them.

use std::collections::HashMap;

use super::slots::{Address, Shard};

/// See the module. `N` is the connection to a node.
#[derive(Debug)]
pub(super) struct Map<N> {
    /// In the order of their slots.
    shards: Vec<Shard>,
    /// Slots that were found elsewhere since.
    moved: HashMap<u16, Address>,
    nodes: HashMap<Address, N>,
}

impl<N> Default for Map<N> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            moved: HashMap::new(),
            nodes: HashMap::new(),
        }
    }
}

impl<N> Map<N> {
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        if let Some(owner) = self.moved.get(&slot) {
            return Some(owner);
        }
        let at = self
            .shards
            .partition_point(|shard| *shard.slots.end() < slot);
        let shard = self.shards.get(at)?;
        shard.slots.contains(&slot).then_some(&shard.primary)
    }

    pub(super) fn moved(&mut self, slot: u16, owner: Address) {
        self.moved.insert(slot, owner);
    }

    /// Takes a newer map. Nodes without slots lose their connections. True if it says something new.
    pub(super) fn replace(&mut self, mut shards: Vec<Shard>) -> bool {
        shards.sort_unstable_by_key(|shard| *shard.slots.start());
        let news = self.shards != shards || !self.moved.is_empty();
        self.shards = shards;
        self.moved.clear();
        let shards = &self.shards;
        self.nodes
            .retain(|address, _| shards.iter().any(|shard| shard.primary == *address));
        news
    }

    pub(super) fn node(&self, address: &Address) -> Option<&N> {
        self.nodes.get(address)
    }

    pub(super) fn keep(&mut self, address: Address, node: N) {
        self.nodes.insert(address, node);
    }

    /// Each node that has slots.
    pub(super) fn primaries(&self) -> Vec<Address> {
        distinct(self.shards.iter().map(|shard| &shard.primary))
    }

    /// Each node, replicas included.
    pub(super) fn all(&self) -> Vec<Address> {
        let of_shards = self
            .shards
            .iter()
            .flat_map(|shard| shard.replicas.iter().chain([&shard.primary]));
        distinct(of_shards.chain(self.moved.values()))
    }
}

fn distinct<'a>(addresses: impl Iterator<Item = &'a Address>) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    for address in addresses {
        if !found.contains(address) {
            found.push(address.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        let host = "h".to_owned();
        Address { host, port }
    }

    fn shard(first: u16, last: u16, port: u16) -> Shard {
        Shard {
            slots: first..=last,
            primary: address(port),
            replicas: vec![address(port + 10)],
        }
    }

    #[test]
    fn a_slot_is_where_it_was_last_seen() {
        let mut map: Map<()> = Map::default();
        assert_eq!(map.owner(0), None);
        assert!(map.replace(vec![shard(6, 10, 2), shard(0, 4, 1)]));
        let owner = |map: &Map<()>, slot| map.owner(slot).map(|address| address.port);
        for (slot, port) in [
            (0, Some(1)),
            (4, Some(1)),
            (5, None),
            (6, Some(2)),
            (11, None),
        ] {
            assert_eq!(owner(&map, slot), port, "slot {slot}");
        }
        map.moved(4, address(3));
        assert_eq!(owner(&map, 4), Some(3));
        assert!(map.replace(vec![shard(0, 10, 2)]), "a slot had moved");
        assert_eq!(owner(&map, 4), Some(2));
        assert!(!map.replace(vec![shard(0, 10, 2)]), "nothing is new");
    }

    #[test]
    fn connections_to_nodes_without_slots_are_given_up() {
        let mut map = Map::default();
        map.replace(vec![shard(0, 4, 1), shard(5, 9, 2)]);
        map.keep(address(1), "one");
        map.keep(address(2), "two");
        map.replace(vec![shard(0, 9, 2)]);
        assert_eq!(map.node(&address(1)), None);
        assert_eq!(map.node(&address(2)), Some(&"two"));
        assert_eq!(map.all(), [address(12), address(2)]);
    }
}
