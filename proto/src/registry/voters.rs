//! Who votes in Raft and who stands by: a plan, one step at a time.
//!
//! Voters are as many as wanted, or as there are nodes for, and an odd number: an even one needs as many
//! more for its majority and survives no more losses. They are spread over regions, so that the loss of one
//! leaves a majority where that can be. At most two nodes stand by as learners. Whoever votes next has stood
//! by and is caught up; several leave and come by one joint change, so that no step is worse than what was.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, NodeState, State};
use crate::id::{NodeId, Region};
use crate::limits::STANDBYS_MAX;

/// Raft's members, as its leader sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who stands by.
    pub learners: BTreeSet<NodeId>,
    /// The former voters, while a joint change is under way.
    pub outgoing: BTreeSet<NodeId>,
    /// Whose log is within reach of the leader's.
    pub caught_up: BTreeSet<NodeId>,
    /// Who was heard within the longest election time.
    pub recent: BTreeSet<NodeId>,
}

impl Members {
    /// Whether a node is a member of any kind.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        [&self.voters, &self.learners, &self.outgoing].iter().any(|set| set.contains(&node))
    }

    /// Whether a node could vote from now on, or lead: it is heard and has the log.
    fn is_ready(&self, node: NodeId) -> bool {
        self.recent.contains(&node) && self.caught_up.contains(&node)
    }
}

/// One member's part of a change. Several are one joint change (`ConfChangeV2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It votes (`ConfChangeAddNode`).
    Voter(NodeId),
    /// It stands by (`ConfChangeAddLearnerNode`).
    Learner(NodeId),
    /// It is no member any more (`ConfChangeRemoveNode`).
    Remove(NodeId),
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Change the members.
    Change(Vec<Step>),
    /// Hand the leadership on: whoever has it now is to drain, to leave or to vote no more.
    Transfer(NodeId),
}

/// The next step towards the members that should be; none where they are, where a change is under way, or
/// where what is missing has not come.
///
/// `me` leads. `lost` are nodes that have been gone for long: they are replaced when someone is ready, and
/// kept until then, since they may come back. Never is a change planned after which those that are heard
/// now would be no majority.
#[must_use]
pub fn plan(state: &State, me: NodeId, members: &Members, lost: &BTreeSet<NodeId>) -> Option<Plan> {
    let majority = |of: &BTreeSet<NodeId>| 2 * of.intersection(&members.recent).count() > of.len();
    // Nothing could be committed now.
    if !members.outgoing.is_empty() || !majority(&members.voters) {
        return None;
    }
    let view = View { state, me, members, lost };
    let mut voters = view.voters();
    if !voters.contains(&me) || view.node(me).is_none_or(Node::drains) {
        // Whoever is to lead is to stay a voter.
        let mut heirs = members.voters.intersection(&voters).filter(|node| **node != me).peekable();
        // The only voter there is: another comes before it goes.
        let alone = heirs.peek().is_none();
        if let Some(heir) = heirs.find(|node| members.is_ready(**node) && !view.drains(**node)) {
            return Some(Plan::Transfer(*heir));
        }
        if alone {
            voters.insert(me);
        }
    }
    if voters != members.voters && voters.contains(&me) && majority(&voters) {
        return Some(Plan::Change(view.steps_to(&voters)));
    }
    view.standbys().map(Plan::Change)
}

struct View<'a> {
    state: &'a State,
    me: NodeId,
    members: &'a Members,
    lost: &'a BTreeSet<NodeId>,
}

/// How many may vote: an odd number.
fn odd(wanted: usize, nodes: usize) -> usize {
    match wanted.min(nodes) {
        0 => 0,
        n if n % 2 == 1 => n,
        n => n - 1,
    }
}

impl View<'_> {
    fn node(&self, node: NodeId) -> Option<&Node> {
        self.state.node(node).filter(|node| !node.leaving)
    }

    fn drains(&self, node: NodeId) -> bool {
        self.node(node).is_none_or(Node::drains)
    }

    /// Whether a node is one to become a member.
    fn is_fit(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.state == NodeState::Up && !node.drains())
            && !self.lost.contains(&id)
    }

    /// As many of `candidates` as may vote, spread over regions: those first that are there and vote, or stand by, already.
    fn pick(&self, candidates: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let count = odd(usize::from(self.state.wanted_voters()), candidates.len());
        let mut there: BTreeMap<&Region, usize> = BTreeMap::new();
        let mut picked = BTreeSet::new();
        while picked.len() < count {
            let rank = |id: &NodeId| {
                let crowd =
                    self.node(*id).and_then(|node| there.get(&node.region)).copied().unwrap_or_default();
                let new = (!self.members.voters.contains(id), !self.members.learners.contains(id));
                (self.lost.contains(id), crowd, new, *id != self.me, *id)
            };
            let Some(next) = candidates.difference(&picked).copied().min_by_key(rank) else { break };
            if let Some(node) = self.node(next) {
                *there.entry(&node.region).or_default() += 1;
            }
            picked.insert(next);
        }
        picked
    }

    /// Who should vote, of those that can now.
    fn voters(&self) -> BTreeSet<NodeId> {
        let stay = self.members.voters.iter().filter(|id| self.node(**id).is_some());
        let come = self.members.learners.iter().filter(|id| self.is_fit(**id) && self.members.is_ready(**id));
        self.pick(&stay.chain(come).copied().collect())
    }

    /// What leads from the voters that are to those that should be.
    fn steps_to(&self, voters: &BTreeSet<NodeId>) -> Vec<Step> {
        let mut steps: Vec<_> =
            voters.difference(&self.members.voters).map(|node| Step::Voter(*node)).collect();
        let mut standbys = self.members.learners.difference(voters).count();
        for id in self.members.voters.difference(voters) {
            // Who stays a node stands by, where there is room.
            if self.is_fit(*id) && standbys < STANDBYS_MAX {
                standbys += 1;
                steps.push(Step::Learner(*id));
            } else {
                steps.push(Step::Remove(*id));
            }
        }
        steps
    }

    /// Learners to come and to go.
    fn standbys(&self) -> Option<Vec<Step>> {
        let members = self.members;
        // Who would vote if all were ready is wanted first.
        let stay = members.voters.iter().copied().filter(|id| self.node(*id).is_some());
        let all: BTreeSet<_> = self.state.nodes().map(|(id, _)| id).filter(|id| self.is_fit(*id)).collect();
        let dream = self.pick(&stay.chain(all.iter().copied()).collect());
        let mut wanted: Vec<_> = all.difference(&members.voters).copied().collect();
        wanted.sort_by_key(|id| (!dream.contains(id), !members.learners.contains(id), *id));
        wanted.truncate(STANDBYS_MAX);
        // Who is gone for a while stands by again when it comes, unless its place is needed.
        let spare = STANDBYS_MAX - wanted.len();
        let gone = |id: &NodeId| !wanted.contains(id) && self.node(*id).is_some();
        let kept: Vec<_> = members.learners.iter().copied().filter(gone).take(spare).collect();
        let goes = |id: &&NodeId| !wanted.contains(id) && !kept.contains(id);
        if let Some(id) = members.learners.iter().find(goes) {
            return Some(vec![Step::Remove(*id)]);
        }
        let comes = wanted.iter().find(|id| !members.learners.contains(id))?;
        Some(vec![Step::Learner(*comes)])
    }
}
