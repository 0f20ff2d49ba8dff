//! Who is gone: a node whose last grant was sent T ago, and of which nothing is heard.

use std::collections::{BTreeMap, BTreeSet};

use super::{Output, Steward, What};
use crate::id::{Epoch, Index, NodeId, Shard};
use crate::registry::voters::Members;
use crate::registry::{Command, Event, Moves, State, placement};
use crate::time::Mono;

/// One more T before anyone is evicted.
#[derive(Debug, Default)]
pub(super) struct Silence {
    wait: Option<Wait>,
    /// Those who are silent now had their second chance.
    waited: bool,
    /// Who keeps its shards since nobody can take them: told once.
    told: BTreeSet<NodeId>,
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    /// To be begun by a read.
    Unread,
    /// The read that begins it, since when.
    Reading(u64, Mono),
    /// Nobody is evicted before.
    Until(Mono),
}

impl Steward {
    /// Notes that the loop runs. Where it stood still (the process was stopped, the host was suspended), its
    /// silence says nothing of others.
    pub(super) fn watch(&mut self, now: Mono, out: &mut Vec<Output>) {
        let gap = now.since(self.seen);
        self.seen = self.seen.max(now);
        if gap > self.profile.eviction / 3 {
            out.push(Output::Tell(Event::StoodStill { gap }));
            self.moves.unsteady(now);
            self.wait_once_more(now, out);
        }
    }

    fn wait_once_more(&mut self, now: Mono, out: &mut Vec<Output>) {
        let number = self.number();
        self.silence.wait = Some(Wait::Reading(number, now));
        out.push(Output::Read { number });
    }

    /// The wait begins when its read has completed: so it still leads.
    pub(super) fn waited(&mut self, now: Mono, number: u64, index: Option<Index>) {
        if matches!(self.silence.wait, Some(Wait::Reading(held, _)) if held == number) {
            self.silence.wait = Some(match index {
                Some(_) => Wait::Until(now + self.profile.eviction),
                None => Wait::Unread,
            });
        }
    }

    /// Nodes that are up and of which nothing was heard for half of T: they fell silent together, or are
    /// about to.
    pub(super) fn silent(&self, now: Mono) -> BTreeSet<NodeId> {
        let half = self.profile.eviction / 2;
        let quiet = self.nodes.iter().filter(|(_, held)| held.up && now.since(held.heard) >= half);
        quiet.map(|(id, _)| *id).collect()
    }

    /// Whether no lease of a node can be left: T has passed since the last grant to it was sent, and since
    /// this leader knows of that life, in case another has granted.
    fn has_run_out(&self, now: Mono, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|held| {
            now >= held.since.max(held.granted.unwrap_or(held.since)) + self.profile.eviction
        })
    }

    pub(super) fn judge(&mut self, now: Mono, state: &State, out: &mut Vec<Output>) {
        match self.silence.wait {
            Some(Wait::Unread) => return self.wait_once_more(now, out),
            Some(Wait::Reading(_, since)) if now.since(since) >= self.profile.lease / 2 => {
                return self.wait_once_more(now, out);
            }
            Some(Wait::Reading(..)) => return,
            Some(Wait::Until(at)) if now < at => return,
            Some(Wait::Until(_)) => (self.silence.wait, self.silence.waited) = (None, true),
            None => {}
        }
        let silent = self.silent(now);
        self.silence.told.retain(|node| silent.contains(node));
        if !silent.is_empty() {
            self.moves.unsteady(now);
        }
        let due: Vec<_> = silent.iter().copied().filter(|node| self.has_run_out(now, *node)).collect();
        if due.is_empty() {
            self.silence.waited = false;
            return;
        }
        let of = self.nodes.values().filter(|held| held.up).count();
        if silent.len() >= 2 && 3 * silent.len() > of && !self.silence.waited {
            out.push(Output::Tell(Event::MassSilence { silent: silent.into_iter().collect(), of }));
            return self.wait_once_more(now, out);
        }
        self.evict(now, state, &due, out);
    }

    fn evict(&mut self, now: Mono, state: &State, due: &[NodeId], out: &mut Vec<Output>) {
        let heirs = self.heirs(now, state);
        for node in due {
            let Some(held) = self.nodes.get(node).copied() else { continue };
            let what = What::Down(*node, held.generation);
            if self.is_proposed(now, what) {
                continue;
            }
            let owned = state.shards().filter(|(_, shard)| shard.owner == Some(*node));
            let mut moves: BTreeMap<NodeId, Vec<(Shard, Epoch)>> = BTreeMap::new();
            let mut orphans = 0;
            for (shard, entry) in owned {
                match heirs.get(&shard) {
                    Some(to) => moves.entry(*to).or_default().push((shard, entry.epoch)),
                    None => orphans += 1,
                }
            }
            if orphans > 0 {
                // Nobody is helped by its eviction; should it return, it goes on.
                if self.silence.told.insert(*node) {
                    out.push(Output::Tell(Event::NobodyLeft { node: *node }));
                }
                continue;
            }
            let (silent, shards) = (now.since(held.heard), moves.values().map(Vec::len).sum());
            let event = Event::Evicted { node: *node, generation: held.generation, silent, shards };
            let note = Some(event.to_string());
            out.push(Output::Tell(event));
            self.down(now, *node, moves, note, out);
        }
    }

    fn down(
        &mut self,
        now: Mono,
        node: NodeId,
        moves: BTreeMap<NodeId, Vec<(Shard, Epoch)>>,
        note: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let Some(generation) = self.nodes.get(&node).map(|held| held.generation) else { return };
        let moves = moves.into_iter().map(|(to, shards)| Moves { to, shards }).collect();
        let command = Command::NodeDown { node, generation, moves };
        self.propose(now, What::Down(node, generation), command, note, out);
    }

    /// Who takes the shards of those that cannot run them: where they are on their way, or by `solve`.
    fn heirs(&self, now: Mono, state: &State) -> BTreeMap<Shard, NodeId> {
        let mut heirs = BTreeMap::new();
        for Moves { to, shards } in self.solve(now, state) {
            heirs.extend(shards.into_iter().map(|(shard, _)| (shard, to)));
        }
        let takers = self.takers(now, state);
        for (shard, entry) in state.shards() {
            if let Some(to) = entry.moving.filter(|to| takers.contains(to)) {
                heirs.entry(shard).or_insert(to);
            }
        }
        heirs
    }

    /// Nodes that can be given shards; of those that drain, where there are no others.
    pub(super) fn takers(&self, now: Mono, state: &State) -> BTreeSet<NodeId> {
        let silent = self.silent(now);
        let there = |id: NodeId| !silent.contains(&id) && !self.is_leaving(id);
        let all = || state.nodes().filter(|(id, _)| there(*id));
        let fit: BTreeSet<_> =
            all().filter(|(_, node)| placement::is_eligible(node)).map(|(id, _)| id).collect();
        if !fit.is_empty() {
            return fit;
        }
        all().filter(|(id, node)| state.is_up(*id) && node.weight > 0).map(|(id, _)| id).collect()
    }

    pub(super) fn solve(&self, now: Mono, state: &State) -> Vec<Moves> {
        let takers = self.takers(now, state);
        placement::solve_among(state, |id, _| takers.contains(&id))
    }

    /// A node that is to leave for good goes once it owns nothing and is no member of Raft: first it gets no
    /// more grants, T later it is gone.
    pub(super) fn let_go(&mut self, now: Mono, state: &State, members: &Members, out: &mut Vec<Output>) {
        if members.voters.is_empty() {
            return;
        }
        for (id, node) in state.nodes() {
            let has =
                |shard: &crate::registry::ShardEntry| shard.owner == Some(id) || shard.moving == Some(id);
            let free = node.leaving && !members.has(id) && !state.shards().any(|(_, shard)| has(shard));
            if let Some(held) = self.nodes.get_mut(&id) {
                held.let_go = free;
            }
            if !free {
                continue;
            }
            if !state.is_up(id) {
                if !self.is_proposed(now, What::Remove(id)) {
                    let note = Some(format!("removed node {id}"));
                    self.propose(now, What::Remove(id), Command::NodeRemove { node: id }, note, out);
                }
            } else if self.has_run_out(now, id) && !self.is_proposed(now, What::Down(id, node.generation)) {
                self.down(now, id, BTreeMap::new(), None, out);
            }
        }
    }
}
