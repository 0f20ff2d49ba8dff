//! Applied registries are equal at equal index: each entry that anybody applies is the same everywhere,
//! came to the same, and left the same time behind.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use chappe_proto::id::{Index, NodeId};
use chappe_proto::registry::State;

#[derive(Default)]
pub(crate) struct Registries {
    applied: BTreeMap<Index, (u64, NodeId)>,
    /// Where each node stands, with the number for its shards.
    stood: BTreeMap<NodeId, (Arc<State>, u64)>,
    entries: BTreeMap<Index, (Bytes, NodeId)>,
}

impl Registries {
    /// A node stands at this state.
    pub(crate) fn stands(&mut self, node: NodeId, state: &Arc<State>) -> Result<(), String> {
        let former = self.stood.get(&node).filter(|(former, _)| state.has_shards_of(former));
        let shards = former.map_or_else(|| digest_shards(state), |(_, shards)| *shards);
        self.stood.insert(node, (Arc::clone(state), shards));
        let (index, digest) = (state.index(), digest(state, shards));
        let (known, first) = *self.applied.entry(index).or_insert((digest, node));
        if known == digest {
            return Ok(());
        }
        Err(format!("nodes {first} and {node} have different registries at index {index}"))
    }

    /// A node applies an entry. True where it is the first to.
    pub(crate) fn applied(&mut self, node: NodeId, index: Index, data: &Bytes) -> Result<bool, String> {
        match self.entries.entry(index) {
            Entry::Vacant(entry) => {
                entry.insert((data.clone(), node));
                Ok(true)
            }
            Entry::Occupied(entry) if entry.get().0 == data => Ok(false),
            Entry::Occupied(entry) => {
                let (_, first) = entry.get();
                Err(format!("nodes {first} and {node} apply different entries at index {index}"))
            }
        }
    }

    /// The highest index that anybody has applied.
    pub(crate) fn last(&self) -> Index {
        self.applied.last_key_value().map_or(Index(0), |(index, _)| *index)
    }
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

const fn mix(sum: u64, number: u64) -> u64 {
    (sum ^ number).wrapping_mul(0x0000_0100_0000_01b3)
}

/// A number for what an entry left behind: all that is cheap to look at, and differs when anything did.
fn digest(state: &State, shards: u64) -> u64 {
    let mut sum = mix(mix(mix(SEED, state.index().0), state.now().millis()), shards);
    for (id, node) in state.nodes() {
        let how = node.state as u64 + 2 * u64::from(node.draining) + 4 * u64::from(node.stopping);
        sum = [id.0, node.generation.0, node.since.millis(), how].into_iter().fold(sum, mix);
    }
    mix(sum, state.bans(state.now()).count() as u64)
}

fn digest_shards(state: &State) -> u64 {
    state.shards().fold(SEED, |sum, (shard, entry)| {
        let owners = entry.owner.map_or(0, |owner| owner.0) << 8 | entry.moving.map_or(0, |to| to.0);
        mix(mix(sum, u64::from(shard.0) ^ entry.epoch.0 << 16), owners)
    })
}
