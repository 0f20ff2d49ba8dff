//! Planned moves: `Moving`, from whose application the old owner admits nothing, then `Moved`
//! when it says `released`, or T later.

use std::collections::BTreeMap;

use super::{Output, Steward, What};
use crate::id::{Epoch, Index, NodeId, Shard};
use crate::limits::{MOVES_AT_ONCE, REBALANCE_AFTER};
use crate::registry::{Command, Event, Moves, ShardEntry, State, groups, placement};
use crate::time::Mono;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Moving {
    shards: BTreeMap<Shard, Move>,
    /// Whether there are shards that nobody runs.
    orphans: bool,
    /// What is being carried out, batch by batch.
    plan: Option<Plan>,
    /// Since when no node has come, gone or been silent.
    steady: Mono,
    /// The state for which there is nothing to do, and whether balance was asked too.
    done: Option<(Index, bool)>,
}

/// Batches of one reason, and how many shards have moved by them.
#[derive(Debug)]
struct Plan {
    drain: bool,
    shards: usize,
}

#[derive(Debug, Clone, Copy)]
struct Move {
    to: Option<NodeId>,
    /// The entry that began it.
    since: Index,
    /// When this leader had applied that.
    at: Mono,
    released: bool,
}

impl Moving {
    pub(super) const fn new(now: Mono) -> Self {
        Self { shards: BTreeMap::new(), plan: None, orphans: false, steady: now, done: None }
    }

    pub(super) const fn unsteady(&mut self, now: Mono) {
        (self.steady, self.done) = (now, None);
    }

    pub(super) fn follow(&mut self, now: Mono, state: &State) {
        let mut moved = 0;
        self.shards.retain(|shard, held| {
            let Some(entry) = state.shard(*shard) else { return false };
            moved += usize::from(entry.moving.is_none() && entry.owner == held.to);
            entry.moving.is_some() && entry.since == held.since
        });
        for (shard, entry) in state.shards().filter(|(_, entry)| entry.moving.is_some()) {
            let (to, since) = (entry.moving, entry.since);
            self.shards.entry(shard).or_insert(Move { to, since, at: now, released: false });
            // Of the leader before this one.
            self.plan.get_or_insert_with(|| Plan { drain: drains(state, shard), shards: 0 });
        }
        if let Some(plan) = &mut self.plan {
            plan.shards += moved;
        }
        self.orphans = state.shards().any(|(_, entry)| is_orphan(state, entry));
    }
}

fn is_orphan(state: &State, entry: &ShardEntry) -> bool {
    entry.owner.is_none_or(|owner| !state.is_up(owner))
}

/// Whether a shard's owner may own none.
fn drains(state: &State, shard: Shard) -> bool {
    let owner = state.shard(shard).and_then(|entry| entry.owner);
    owner.and_then(|owner| state.node(owner)).is_some_and(|node| !placement::is_eligible(node))
}

fn by_target(moves: impl IntoIterator<Item = (NodeId, Shard, Epoch)>) -> Vec<Moves> {
    let mut all: BTreeMap<NodeId, Vec<(Shard, Epoch)>> = BTreeMap::new();
    for (to, shard, epoch) in moves {
        all.entry(to).or_default().push((shard, epoch));
    }
    all.into_iter().map(|(to, shards)| Moves { to, shards }).collect()
}

impl Steward {
    /// An owner that knows of the move, and of every one that was called off before it, has let go.
    pub(super) fn release(&mut self, from: NodeId, shards: &[(Shard, Epoch)], applied: Index, state: &State) {
        for (shard, epoch) in shards {
            let Some(held) = self.moves.shards.get_mut(shard) else { continue };
            let owned = |entry: &&ShardEntry| entry.owner == Some(from) && entry.epoch == *epoch;
            if applied >= held.since && state.shard(*shard).filter(owned).is_some() {
                held.released = true;
            }
        }
    }

    pub(super) fn move_shards(&mut self, now: Mono, state: &State, out: &mut Vec<Output>) {
        if self.is_proposed(now, What::Moves) {
            return;
        }
        let moved = self.moved(now, state);
        if !moved.is_empty() {
            return self.propose(now, What::Moves, Command::Moved { moves: moved }, None, out);
        }
        let steady = now.since(self.moves.steady) >= REBALANCE_AFTER;
        if self.moves.done == Some((state.index(), steady)) {
            return;
        }
        self.plan_moves(now, state, steady, out);
    }

    /// Shards that may change hands now: those that were released, or whose T has passed; and those that
    /// nobody runs.
    fn moved(&self, now: Mono, state: &State) -> Vec<Moves> {
        if self.moves.shards.is_empty() && !self.moves.orphans {
            return Vec::new();
        }
        let takers = self.takers(now, state);
        let orphan = |entry: &ShardEntry| is_orphan(state, entry);
        let mut ready: BTreeMap<Shard, (NodeId, Epoch)> = BTreeMap::new();
        for (shard, held) in &self.moves.shards {
            let Some(entry) = state.shard(*shard) else { continue };
            // One that is to get them and has fallen silent gets none: it returns, or it is evicted, and the
            // move is off.
            let Some(to) = entry.moving.filter(|to| takers.contains(to) || self.can_take(now, *to)) else {
                continue;
            };
            if held.released || orphan(entry) || now >= held.at + self.profile.eviction {
                ready.insert(*shard, (to, entry.epoch));
            }
        }
        if self.moves.orphans {
            for Moves { to, shards } in placement::solve_among(state, |id, _| takers.contains(&id)) {
                let homeless = |shard| state.shard(shard).is_some_and(orphan);
                for (shard, epoch) in shards.into_iter().filter(|(shard, _)| homeless(*shard)) {
                    ready.entry(shard).or_insert((to, epoch));
                }
            }
        }
        by_target(ready.into_iter().map(|(shard, (to, epoch))| (to, shard, epoch)))
    }

    /// Whether what was promised to a node may go there, although it would be given nothing new.
    fn can_take(&self, now: Mono, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|held| held.up)
            && !self.silent(now).contains(&node)
            && !self.is_leaving(node)
    }

    fn plan_moves(&mut self, now: Mono, state: &State, steady: bool, out: &mut Vec<Output>) {
        // One batch at a time.
        if !self.moves.shards.is_empty() {
            return;
        }
        if steady && let Some((group, shards)) = groups::wanted(state) {
            return self.propose(now, What::Moves, Command::GroupSet { group, shards }, None, out);
        }
        let silent = self.silent(now);
        let owner = |shard| state.shard(shard).and_then(|entry| entry.owner);
        // Of an owner that says nothing no shard is asked: it is evicted, or it returns.
        let moves: Vec<_> = self
            .solve(now, state)
            .into_iter()
            .flat_map(|Moves { to, shards }| shards.into_iter().map(move |(shard, epoch)| (to, shard, epoch)))
            .filter(|(_, shard, _)| owner(*shard).is_some_and(|owner| !silent.contains(&owner)))
            // What drains itself is given what nobody runs, and nothing else.
            .filter(|(to, _, _)| state.node(*to).is_some_and(placement::is_eligible))
            .collect();
        let mut batch: Vec<_> = moves.iter().copied().filter(|(_, shard, _)| drains(state, *shard)).collect();
        let drain = !batch.is_empty();
        if !drain && steady {
            batch = moves;
        }
        batch.truncate(MOVES_AT_ONCE);
        let over = |plan: &mut Plan| batch.is_empty() || plan.drain != drain;
        if let Some(Plan { drain, shards }) = self.moves.plan.take_if(over)
            && shards > 0
        {
            out.push(Output::Tell(Event::Moved { shards, drain }));
        }
        if batch.is_empty() {
            self.moves.done = Some((state.index(), steady));
            return;
        }
        self.moves.plan.get_or_insert(Plan { drain, shards: 0 });
        self.propose(now, What::Moves, Command::Moving { moves: by_target(batch) }, None, out);
    }
}
