//! Where shards should be. The leader computes it and puts the moves into an entry; apply never
//! does.

use std::collections::BTreeMap;

use super::{Moves, NodeState, State};
use crate::id::{Epoch, NodeId, Shard};
use crate::limits::SHARDS;

/// The fewest moves after which every eligible node owns its part of the shards by weight, within
/// one shard.
///
/// Eligible is a node that is up, not draining, and has a weight. A shard that is on its way counts
/// where it goes. Balanced input gives no moves; with nobody eligible nothing moves.
#[must_use]
pub fn solve(state: &State) -> Vec<Moves> {
    let eligible = |(id, node): (NodeId, &super::Node)| {
        let fit = node.state == NodeState::Up && !node.draining && node.weight > 0;
        fit.then_some((id, u64::from(node.weight)))
    };
    let weights: BTreeMap<NodeId, u64> = state.nodes().filter_map(eligible).collect();
    let mut held: BTreeMap<NodeId, Vec<Shard>> = weights.keys().map(|node| (*node, Vec::new())).collect();
    let mut homeless = Vec::new();
    for (shard, entry) in state.shards() {
        match entry.moving.or(entry.owner).and_then(|owner| held.get_mut(&owner)) {
            Some(list) => list.push(shard),
            None => homeless.push(shard),
        }
    }
    let counts = held.iter().map(|(node, list)| (*node, list.len() as u64)).collect();
    let targets = targets(&weights, &counts);
    for (node, list) in &mut held {
        let target = targets.get(node).map_or(0, |target| usize::try_from(*target).unwrap_or(usize::MAX));
        if list.len() > target {
            homeless.extend(list.split_off(target));
        }
    }
    homeless.sort_unstable();
    let mut homeless = homeless.into_iter();
    let mut moves = Vec::new();
    for (node, target) in targets {
        let have = held.get(&node).map_or(0, Vec::len) as u64;
        let take = usize::try_from(target.saturating_sub(have)).unwrap_or(usize::MAX);
        let epoch = |shard| state.shard(shard).map_or(Epoch(0), |entry| entry.epoch);
        let shards: Vec<_> = homeless.by_ref().take(take).map(|shard| (shard, epoch(shard))).collect();
        if !shards.is_empty() {
            moves.push(Moves { to: node, shards });
        }
    }
    moves
}

/// How many shards each node should own: the whole part of its due, and one more for as many nodes
/// as shards are left, first for those that hold more than the whole part already, so that nothing
/// moves without need.
fn targets(weights: &BTreeMap<NodeId, u64>, counts: &BTreeMap<NodeId, u64>) -> BTreeMap<NodeId, u64> {
    let sum: u64 = weights.values().sum();
    if sum == 0 {
        return BTreeMap::new();
    }
    let total = u64::from(SHARDS);
    let mut targets: BTreeMap<_, _> = weights.iter().map(|(node, w)| (*node, total * w / sum)).collect();
    let left = total - targets.values().sum::<u64>();
    let mut claims: Vec<_> = weights
        .iter()
        .map(|(node, weight)| {
            let over = counts.get(node) > targets.get(node);
            (!over, std::cmp::Reverse(total * weight % sum), *node)
        })
        .filter(|(_, part, _)| part.0 > 0)
        .collect();
    claims.sort_unstable();
    for (_, _, node) in claims.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(target) = targets.get_mut(&node) {
            *target += 1;
        }
    }
    targets
}
