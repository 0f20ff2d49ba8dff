//! What a node may do in a shard, by the registry that it has applied and its lease (CLUSTER.md 3 and 4).

use super::{NodeState, State};
use crate::id::{Generation, NodeId, Shard};

/// What a node may do in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing: it is not the owner, or not in this life.
    None,
    /// Relay directed signals among the peers that it has, and nothing else: it has no lease, or the shard
    /// is on its way to another.
    Frozen,
    /// All that an owner does.
    Full,
}

/// What node `me`, in its life `generation`, may do in a shard.
#[must_use]
pub fn right(state: &State, me: NodeId, generation: Generation, lease_holds: bool, shard: Shard) -> Right {
    let Some(entry) = state.shard(shard).filter(|entry| entry.owner == Some(me)) else {
        return Right::None;
    };
    // Before its start is applied here, its shards are still at the epochs of its former process.
    let Some(node) = state.node(me).filter(|node| node.generation == generation) else {
        return Right::None;
    };
    // Found gone, and there was nobody to take its shards: whoever comes takes them at the next epoch.
    let up = node.state == NodeState::Up;
    if up && lease_holds && entry.moving.is_none() { Right::Full } else { Right::Frozen }
}

/// Whether node `me`, in its life `generation`, may let clients in as their gateway: new joins, and resumes
/// of sessions that were elsewhere.
#[must_use]
pub fn admits(state: &State, me: NodeId, generation: Generation, lease_holds: bool) -> bool {
    let here = state.node(me).filter(|node| node.generation == generation);
    lease_holds && here.is_some_and(|node| node.state == NodeState::Up)
}
