//! Groups of shards: each shard may be owned anywhere, or in one region.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::placement::is_eligible;
use super::{Outcome, Refusal, State, Thing};
use crate::id::{NodeId, Region, RoomKey, Shard};
use crate::limits::{HOME_SHARDS, HOME_SHARDS_ALL, SHARDS};

/// What brings the groups nearer to what they should be: shards, and the region that they are to be owned in. None
/// where there is nothing to do.
///
/// Each region with a node that runs rooms has [`HOME_SHARDS`] of its own, first those that are owned there
/// already; fewer where there are very many regions. Where all nodes are in one region no shard is of any. More
/// than that a region keeps: somebody wanted it.
#[must_use]
pub(super) fn wanted(state: &State) -> Option<(Option<Region>, Vec<Shard>)> {
    let mut regions: BTreeMap<&Region, usize> = BTreeMap::new();
    for (_, node) in state.nodes().filter(|(_, node)| node.weight > 0) {
        regions.insert(&node.region, 0);
    }
    if regions.len() < 2 {
        regions.clear();
    }
    let mut over = Vec::new();
    for (shard, region) in state.groups() {
        match regions.get_mut(region) {
            Some(count) => *count += 1,
            None => over.push(shard),
        }
    }
    if !over.is_empty() {
        return Some((None, over));
    }
    let each = HOME_SHARDS.min(HOME_SHARDS_ALL / regions.len().max(1)).max(1);
    let (region, have) = regions.into_iter().find(|(_, have)| *have < each)?;
    let of = |node: Option<NodeId>| node.and_then(|node| state.node(node)).map(|node| &node.region);
    let mut free: Vec<_> = state
        .shards()
        .filter(|(shard, _)| state.group(*shard).is_none())
        .map(|(shard, entry)| (of(entry.moving.or(entry.owner)) != Some(region), shard))
        .collect();
    free.sort_unstable();
    let shards: Vec<_> = free.into_iter().take(each - have).map(|(_, shard)| shard).collect();
    (!shards.is_empty()).then(|| (Some(region.clone()), shards))
}

impl State {
    /// The region in which a shard is to be owned; none where it may be anywhere.
    #[must_use]
    pub fn group(&self, shard: Shard) -> Option<&Region> {
        self.groups.get(&shard)
    }

    /// All shards that are to be owned in a region, in order.
    pub fn groups(&self) -> impl Iterator<Item = (Shard, &Region)> {
        self.groups.iter().map(|(shard, region)| (*shard, region))
    }

    /// The shard in which a room is near that region: its anchor where that is owned there, else one of the
    /// region's own. None where no node there owns any.
    #[must_use]
    pub fn home(&self, room: &RoomKey, region: &Region) -> Option<Shard> {
        let is_there = |shard: &Shard| {
            let entry = self.shard(*shard).filter(|entry| entry.moving.is_none());
            let owner = entry.and_then(|entry| entry.owner).and_then(|owner| self.node(owner));
            owner.is_some_and(|node| node.region == *region && is_eligible(node))
        };
        let anchor = room.anchor();
        if is_there(&anchor) {
            return Some(anchor);
        }
        let own: Vec<_> =
            self.groups().filter(|(_, group)| *group == region).map(|(shard, _)| shard).collect();
        let own: Vec<_> = own.into_iter().filter(is_there).collect();
        let nth = usize::from(anchor.0).checked_rem(own.len())?;
        own.get(nth).copied()
    }

    pub(super) fn group_set(&mut self, group: Option<&Region>, shards: &[Shard]) -> Result<Outcome, Refusal> {
        if shards.len() > usize::from(SHARDS) || shards.iter().any(|shard| shard.0 >= SHARDS) {
            return Err(Refusal::Invalid(Thing::Group));
        }
        let groups = Arc::make_mut(&mut self.groups);
        for shard in shards {
            match group {
                Some(region) => groups.insert(*shard, region.clone()),
                None => groups.remove(shard),
            };
        }
        Ok(Outcome::Done)
    }
}
