//! Who owns which shard, and since which epoch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, State};
use crate::id::{Epoch, Index, NodeId, Shard};
use crate::limits::SHARDS;

/// A shard's owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Who runs its rooms; nobody before the first assignment.
    #[serde(default, rename = "o", skip_serializing_if = "Option::is_none")]
    pub owner: Option<NodeId>,
    /// Counts its owners, and the starts of each.
    #[serde(default, rename = "e")]
    pub epoch: Epoch,
    /// Where it is about to move: its owner admits nothing meanwhile.
    #[serde(default, rename = "m", skip_serializing_if = "Option::is_none")]
    pub moving: Option<NodeId>,
    /// The entry by which it is about to move; 0 where it is not. A `released` of a move that was called off
    /// says less.
    #[serde(default, rename = "i", skip_serializing_if = "is_zero")]
    pub since: Index,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(index: &Index) -> bool {
    index.0 == 0
}

/// Shards that go to one node, each with the epoch from which it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// Where to.
    pub to: NodeId,
    /// What, at which epoch.
    pub shards: Vec<(Shard, Epoch)>,
}

pub(super) fn unowned() -> Arc<Vec<ShardEntry>> {
    Arc::new(vec![ShardEntry::default(); usize::from(SHARDS)])
}

impl State {
    /// A shard; none beyond [`SHARDS`].
    #[must_use]
    pub fn shard(&self, shard: Shard) -> Option<&ShardEntry> {
        self.shards.get(usize::from(shard.0))
    }

    /// All shards in order.
    pub fn shards(&self) -> impl Iterator<Item = (Shard, &ShardEntry)> {
        (0..SHARDS).map(Shard).zip(self.shards.iter())
    }

    /// Whether no shard is another than in `former`, an earlier state of this one. Cheap: it may say no where
    /// only what is shared in memory has changed.
    #[must_use]
    pub fn has_shards_of(&self, former: &Self) -> bool {
        Arc::ptr_eq(&self.shards, &former.shards)
    }

    fn shard_mut(&mut self, shard: Shard) -> Option<&mut ShardEntry> {
        Arc::make_mut(&mut self.shards).get_mut(usize::from(shard.0))
    }

    /// Whether every shard of `moves` is at the epoch said, each named once, and `allowed`.
    pub(super) fn check_moves(
        &self,
        moves: &[Moves],
        allowed: impl Fn(&Self, &ShardEntry, NodeId) -> bool,
    ) -> Result<(), Refusal> {
        let mut seen = vec![false; self.shards.len()];
        for (to, shard, expected) in moves.iter().flat_map(|m| m.shards.iter().map(|(s, e)| (m.to, *s, *e))) {
            let held = self.shard(shard).copied().unwrap_or_default();
            let again = seen.get_mut(usize::from(shard.0)).is_none_or(|seen| std::mem::replace(seen, true));
            if again || held.epoch != expected || !allowed(self, &held, to) {
                return Err(Refusal::ShardMoved { shard, epoch: held.epoch });
            }
        }
        Ok(())
    }

    /// Gives each shard to its new owner at the next epoch.
    pub(super) fn carry_out(&mut self, moves: &[Moves]) {
        for (to, shard) in moves.iter().flat_map(|m| m.shards.iter().map(|(s, _)| (m.to, *s))) {
            if let Some(held) = self.shard_mut(shard) {
                let epoch = Epoch(held.epoch.0.saturating_add(1));
                *held = ShardEntry { owner: Some(to), epoch, ..ShardEntry::default() };
            }
        }
    }

    pub(super) fn moving(&mut self, moves: &[Moves]) -> Result<Outcome, Refusal> {
        if let Some(to) = moves.iter().map(|m| m.to).find(|to| !self.is_up(*to)) {
            return Err(Refusal::NotUp(to));
        }
        self.check_moves(moves, |_, shard, _| shard.owner.is_some())?;
        let index = self.index;
        for (to, shard) in moves.iter().flat_map(|m| m.shards.iter().map(|(s, _)| (m.to, *s))) {
            if let Some(held) = self.shard_mut(shard) {
                held.moving = Some(to).filter(|_| held.owner != Some(to));
                held.since = held.moving.map_or(Index(0), |_| index);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn moved(&mut self, moves: &[Moves]) -> Result<Outcome, Refusal> {
        if let Some(to) = moves.iter().map(|m| m.to).find(|to| !self.is_up(*to)) {
            return Err(Refusal::NotUp(to));
        }
        // As planned by `Moving`; or nobody runs it. An owner that is up is never overrun.
        self.check_moves(moves, |state, shard, to| {
            shard.moving == Some(to) || shard.owner.is_none_or(|owner| !state.is_up(owner))
        })?;
        self.carry_out(moves);
        Ok(Outcome::Done)
    }

    /// Each shard that `node` owns begins a new epoch: what its former process sent is void.
    pub(super) fn raise_epochs_of(&mut self, node: NodeId) {
        if self.shards.iter().any(|shard| shard.owner == Some(node)) {
            for shard in Arc::make_mut(&mut self.shards).iter_mut().filter(|shard| shard.owner == Some(node))
            {
                shard.epoch = Epoch(shard.epoch.0.saturating_add(1));
            }
        }
    }

    /// Nothing moves to a node that is gone.
    pub(super) fn call_off_moves_to(&mut self, node: NodeId) {
        if self.shards.iter().any(|shard| shard.moving == Some(node)) {
            for shard in Arc::make_mut(&mut self.shards).iter_mut().filter(|shard| shard.moving == Some(node))
            {
                (shard.moving, shard.since) = (None, Index(0));
            }
        }
    }
}
