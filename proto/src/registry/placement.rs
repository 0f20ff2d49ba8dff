//! Where shards should be. The leader computes it and puts the moves into an entry; apply never
//! does.

use std::collections::BTreeMap;

use super::{Moves, Node, NodeState, ShardEntry, State};
use crate::id::{Epoch, NodeId, Region, Shard};

/// The fewest moves after which every eligible node owns its part of each group's shards by weight, within
/// one shard.
///
/// Eligible is a node that is up, not draining, and has a weight; for a group of one region, such a node
/// there. Where a region has none, all are eligible for its group: a room far away is better than none. A
/// shard that is on its way counts where it goes. Balanced input gives no moves; with nobody eligible nothing
/// moves.
#[must_use]
pub fn solve(state: &State) -> Vec<Moves> {
    solve_among(state, |_, node| is_eligible(node))
}

/// [`solve`] with nodes eligible that are `fit`.
#[must_use]
pub fn solve_among(state: &State, fit: impl Fn(NodeId, &Node) -> bool) -> Vec<Moves> {
    let mut groups: BTreeMap<Option<&Region>, Vec<(Shard, &ShardEntry)>> = BTreeMap::new();
    for (shard, entry) in state.shards() {
        groups.entry(state.group(shard)).or_default().push((shard, entry));
    }
    let mut moves: BTreeMap<NodeId, Vec<(Shard, Epoch)>> = BTreeMap::new();
    for (group, shards) in groups {
        for (to, shard, epoch) in balance(&eligible(state, group, &fit), &shards) {
            moves.entry(to).or_default().push((shard, epoch));
        }
    }
    moves.into_iter().map(|(to, shards)| Moves { to, shards }).collect()
}

/// Whether a node may own shards.
#[must_use]
pub fn is_eligible(node: &Node) -> bool {
    node.state == NodeState::Up && !node.drains() && node.weight > 0
}

/// Who may own a group's shards, and their weights.
fn eligible(
    state: &State,
    group: Option<&Region>,
    fit: impl Fn(NodeId, &Node) -> bool,
) -> BTreeMap<NodeId, u64> {
    let all = || state.nodes().filter(|(id, node)| fit(*id, node));
    let weight = |(id, node): (NodeId, &Node)| (id, u64::from(node.weight));
    let there: BTreeMap<_, _> =
        all().filter(|(_, node)| group.is_none_or(|group| node.region == *group)).map(weight).collect();
    if there.is_empty() { all().map(weight).collect() } else { there }
}

/// The fewest moves that balance some shards over some nodes.
fn balance(weights: &BTreeMap<NodeId, u64>, shards: &[(Shard, &ShardEntry)]) -> Vec<(NodeId, Shard, Epoch)> {
    let mut held: BTreeMap<NodeId, Vec<(Shard, Epoch)>> =
        weights.keys().map(|node| (*node, Vec::new())).collect();
    let mut homeless = Vec::new();
    for (shard, entry) in shards {
        match entry.moving.or(entry.owner).and_then(|owner| held.get_mut(&owner)) {
            Some(list) => list.push((*shard, entry.epoch)),
            None => homeless.push((*shard, entry.epoch)),
        }
    }
    let counts = held.iter().map(|(node, list)| (*node, list.len() as u64)).collect();
    let targets = targets(weights, &counts, shards.len() as u64);
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
        moves.extend(homeless.by_ref().take(take).map(|(shard, epoch)| (node, shard, epoch)));
    }
    moves
}

/// How many shards each node should own: the whole part of its due, and one more for as many nodes
/// as shards are left, first for those that hold more than the whole part already, so that nothing
/// moves without need.
fn targets(
    weights: &BTreeMap<NodeId, u64>,
    counts: &BTreeMap<NodeId, u64>,
    total: u64,
) -> BTreeMap<NodeId, u64> {
    let sum: u64 = weights.values().sum();
    if sum == 0 {
        return BTreeMap::new();
    }
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
