//! Groups of shards: each shard may be owned anywhere, or in one region (CLUSTER.md 10).

use std::sync::Arc;

use super::{Outcome, Refusal, State, Thing};
use crate::id::{Region, Shard};
use crate::limits::SHARDS;

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
