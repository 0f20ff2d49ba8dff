//! What a node may do in a shard, by the registry that it has applied and its lease.

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

/// Whether a life of a node has ended, as far as this state knows: what still comes of it counts no more. A node
/// that is not known has been removed, or its life has not begun here yet, and what matters is said again.
#[must_use]
pub fn is_over(state: &State, node: NodeId, generation: Generation) -> bool {
    state.node(node).is_none_or(|held| {
        generation < held.generation || (generation == held.generation && held.state == NodeState::Down)
    })
}

/// Whether node `me`, in its life `generation`, may let clients in as their gateway: new joins, and resumes
/// of sessions that were elsewhere.
#[must_use]
pub fn admits(state: &State, me: NodeId, generation: Generation, lease_holds: bool) -> bool {
    let here = state.node(me).filter(|node| node.generation == generation);
    lease_holds && here.is_some_and(|node| node.state == NodeState::Up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Index, Region};
    use crate::registry::{Command, Entry, NodeAddresses, VERSION};
    use crate::time::Unix;

    #[test]
    fn a_life_is_over_once_the_node_is_down_or_in_another() {
        let (mut state, node) = (State::default(), NodeId(1));
        let mut apply = |command| {
            let index = Index(state.index().0 + 1);
            state.apply(index, Entry { at: Unix::default(), by: None, note: None, command });
            state.clone()
        };
        assert!(is_over(&State::default(), node, Generation(1)), "of nobody");
        let up = || Command::NodeUp {
            node,
            addresses: NodeAddresses::default(),
            build: "b".into(),
            speaks: VERSION,
        };
        apply(Command::NodeAdd { node, region: Region::new("here").unwrap() });
        let first = apply(up());
        let generation = first.node(node).unwrap().generation;
        assert!(!is_over(&first, node, generation) && is_over(&first, node, Generation(generation.0 - 1)));
        let next = Generation(generation.0 + 1);
        assert!(!is_over(&first, node, next), "not applied here yet");
        let down = apply(Command::NodeDown { node, generation, moves: Vec::new() });
        assert!(is_over(&down, node, generation) && !is_over(&down, node, next));
        let again = apply(up());
        assert!(is_over(&again, node, generation) && !is_over(&again, node, next));
    }
}
