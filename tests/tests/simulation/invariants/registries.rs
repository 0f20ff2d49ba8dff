//! Applied registries are equal at equal index: each entry that anybody applies is the same everywhere,
//! came to the same, and left the same time behind.

use std::collections::BTreeMap;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::registry::State;

#[derive(Default)]
pub(crate) struct Registries {
    applied: BTreeMap<Index, (u64, NodeId)>,
    entries: BTreeMap<Index, (Vec<u8>, NodeId)>,
}

impl Registries {
    /// A node stands at an index with this state. `digest` is of the whole of it.
    pub(crate) fn stands(&mut self, node: NodeId, index: Index, digest: u64) -> Result<(), String> {
        let (known, first) = *self.applied.entry(index).or_insert((digest, node));
        if known == digest {
            return Ok(());
        }
        Err(format!("nodes {first} and {node} have different registries at index {index}"))
    }

    /// A node applies an entry.
    pub(crate) fn applied(&mut self, node: NodeId, index: Index, data: &[u8]) -> Result<(), String> {
        let (known, first) = self.entries.entry(index).or_insert_with(|| (data.to_vec(), node));
        if known == data {
            return Ok(());
        }
        Err(format!("nodes {first} and {node} apply different entries at index {index}"))
    }

    /// The highest index that anybody has applied.
    pub(crate) fn last(&self) -> Index {
        self.applied.last_key_value().map_or(Index(0), |(index, _)| *index)
    }
}

/// A number for what an entry left behind: all that is cheap to look at, and differs when anything did.
pub(crate) fn digest(state: &State) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |number: u64| sum = (sum ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    mix(state.index().0);
    mix(state.now().millis());
    for (id, node) in state.nodes() {
        mix(id.0);
        mix(node.generation.0);
        mix(node.since.millis());
        mix(node.state as u64 + 2 * u64::from(node.draining));
    }
    for (shard, entry) in state.shards() {
        mix(u64::from(shard.0) ^ entry.epoch.0 << 16);
        mix(entry.owner.map_or(0, |owner| owner.0) << 8 | entry.moving.map_or(0, |to| to.0));
    }
    mix(state.bans(state.now()).count() as u64);
    sum
}
