//! The leader's duties: one machine, begun when this member has applied the first
//! entry of its own term, and dropped when it leads no more.
//!
//! It grants leases, declares silent nodes gone, moves shards off nodes that drain and onto those that came,
//! and keeps Raft's members as they should be. What it decides it proposes; it acts on the applied registry
//! alone. [`grants`] says who may go on, [`silence`] who is gone, [`moves`] what goes where.

mod grants;
mod moves;
#[cfg(test)]
mod schedules;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::profile::Profile;
use super::voters::{self, Members, Plan, Step};
use super::{Command, Event, Note, Outcome, State, VERSION};
use crate::id::{Epoch, Generation, Index, NodeId, Shard};
use crate::limits::{MEMBERS_AGAIN, PROPOSE_AGAIN, VOTER_LOST_AFTER};
use crate::time::Mono;

/// What a steward asks of its shell.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are a few at a time, and none is kept")]
pub enum Output {
    /// Begin a read-index now; answer by [`Steward::handle_read`].
    Read {
        /// Names it.
        number: u64,
    },
    /// Send this grant to a node, which may be this one.
    Grant {
        /// To whom.
        to: NodeId,
        /// The life that renewed.
        generation: Generation,
        /// Which renewal.
        n: u64,
        /// What the node must have applied for it to count.
        index: Index,
    },
    /// Propose this on this very member, after whatever it was asked to propose before; answer by
    /// [`Steward::handle_outcome`].
    Propose {
        /// Names it.
        number: u64,
        /// What.
        command: Command,
        /// For the audit log.
        note: Option<Note>,
    },
    /// Change Raft's members, several by one joint change.
    Members(Vec<Step>),
    /// Hand the leadership to this voter.
    Transfer {
        /// To whom.
        to: NodeId,
    },
    /// Tell operators.
    Tell(Event),
}

/// A node as its leader knows it.
#[derive(Debug, Clone, Copy)]
struct Held {
    generation: Generation,
    up: bool,
    /// Since when this leader knows that life.
    since: Mono,
    /// When it last renewed.
    heard: Mono,
    /// When a grant was last sent to that life.
    granted: Option<Mono>,
    /// Whether it has nothing left to do here and is let go: no more grants.
    let_go: bool,
}

/// What was proposed and is neither applied nor refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Down(NodeId, Generation),
    Remove(NodeId),
    Moves,
    Settle,
    Version,
}

/// The leader's duties.
#[derive(Debug)]
pub struct Steward {
    me: NodeId,
    profile: Profile,
    /// When its loop last ran.
    seen: Mono,
    /// When it is to run next although nothing comes in.
    next: Mono,
    numbers: u64,
    nodes: BTreeMap<NodeId, Held>,
    grants: grants::Grants,
    silence: silence::Silence,
    moves: moves::Moving,
    proposed: BTreeMap<u64, (What, Mono)>,
    settling: Option<(Index, Mono)>,
    /// Since when a node is not up.
    gone: BTreeMap<NodeId, Mono>,
    members: Option<(Members, Mono)>,
}

impl Steward {
    /// This member, `me`, leads and has applied the first entry of its own term: `state` has all that was
    /// committed before. Whatever grants the leaders before it have sent, no lease outlasts T from now.
    #[must_use]
    pub fn begin(now: Mono, me: NodeId, state: &State) -> Self {
        let mut steward = Self {
            me,
            profile: state.profile(),
            seen: now,
            next: now,
            numbers: 0,
            nodes: BTreeMap::new(),
            grants: grants::Grants::default(),
            silence: silence::Silence::default(),
            moves: moves::Moving::new(now),
            proposed: BTreeMap::new(),
            settling: None,
            gone: BTreeMap::new(),
            members: None,
        };
        steward.follow(now, state);
        steward
    }

    /// A node asks to go on.
    pub fn handle_renewal(
        &mut self,
        now: Mono,
        from: NodeId,
        generation: Generation,
        n: u64,
        out: &mut Vec<Output>,
    ) {
        self.watch(now, out);
        self.renew(now, from, generation, n, out);
    }

    /// A read-index that was begun for `number` has completed at an index; or failed, or was lost.
    pub fn handle_read(&mut self, now: Mono, number: u64, index: Option<Index>, out: &mut Vec<Output>) {
        self.watch(now, out);
        self.grant(now, number, index, out);
        self.waited(now, number, index);
    }

    /// A node that had `applied` so much admits nothing in these shards any more.
    pub fn handle_released(
        &mut self,
        now: Mono,
        from: NodeId,
        shards: &[(Shard, Epoch)],
        applied: Index,
        state: &State,
        out: &mut Vec<Output>,
    ) {
        self.watch(now, out);
        self.release(from, shards, applied, state);
        self.move_shards(now, state, out);
    }

    /// What became of a proposal; none where it was certainly not appended to the log. Of one whose fate is
    /// unknown nothing is said: whoever leads next begins anew. `state` has what was applied: grants to
    /// one that was being removed go on only where it was refused, and its shards go on at once.
    pub fn handle_outcome(
        &mut self,
        now: Mono,
        number: u64,
        outcome: Option<&Outcome>,
        state: &State,
        members: &Members,
        out: &mut Vec<Output>,
    ) {
        self.watch(now, out);
        self.follow(now, state);
        let what = self.proposed.remove(&number).map(|(what, _)| what);
        if let (Some(What::Remove(node)), Some(Outcome::Done)) = (what, outcome) {
            out.push(Output::Tell(Event::Removed { node }));
        }
        if outcome.is_some() {
            self.act(now, state, members, out);
        } // else the member takes none now (it hands the leadership over, say): not before its turn
    }

    /// The registry has changed here, or Raft's members.
    pub fn handle_state(&mut self, now: Mono, state: &State, members: &Members, out: &mut Vec<Output>) {
        self.watch(now, out);
        self.follow(now, state);
        self.act(now, state, members, out);
    }

    /// The time of [`Self::poll_timeout`] has come. Before it is told so, everything that has come in is to
    /// be handled: a renewal that waits in a queue is no silence.
    pub fn handle_timeout(&mut self, now: Mono, state: &State, members: &Members, out: &mut Vec<Output>) {
        self.watch(now, out);
        self.next = now + self.profile.renewal();
        self.act(now, state, members, out);
    }

    /// When [`Self::handle_timeout`] is due: as often as nodes renew. A leader that comes later by much has
    /// stood still, and acts so.
    #[must_use]
    pub const fn poll_timeout(&self) -> Mono {
        self.next
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn propose(
        &mut self,
        now: Mono,
        what: What,
        command: Command,
        note: Option<String>,
        out: &mut Vec<Output>,
    ) {
        // Proposals of one kind are appended in their order: the last one's outcome is the end of all.
        self.proposed.retain(|_, (held, _)| *held != what);
        let number = self.number();
        self.proposed.insert(number, (what, now));
        let me = format!("node {}", self.me);
        let note = note.map(|what| Note { who: me.clone(), what, from: me });
        out.push(Output::Propose { number, command, note });
    }

    /// Whether something of the kind was proposed and may still be applied. It is not asked again before
    /// [`PROPOSE_AGAIN`].
    fn is_proposed(&self, now: Mono, what: What) -> bool {
        self.proposed.values().any(|(held, at)| *held == what && now.since(*at) < PROPOSE_AGAIN)
    }

    /// Takes what the applied registry says of nodes, timers and moves.
    fn follow(&mut self, now: Mono, state: &State) {
        self.profile = state.profile();
        let mut changed = self.nodes.len() != state.nodes().count();
        self.nodes.retain(|id, _| state.node(*id).is_some());
        for (id, node) in state.nodes() {
            let up = state.is_up(id);
            let fresh = Held {
                generation: node.generation,
                up,
                since: now,
                heard: now,
                granted: None,
                let_go: false,
            };
            let held = self.nodes.entry(id).or_insert(fresh);
            if (held.generation, held.up) != (node.generation, up) {
                *held = fresh;
                changed = true;
            }
        }
        // A removal names the life that it ends: that one is over.
        let nodes = &self.nodes;
        self.proposed.retain(|_, (what, _)| match what {
            What::Down(node, generation) => {
                nodes.get(node).is_some_and(|held| held.up && held.generation == *generation)
            }
            What::Remove(_) | What::Moves | What::Settle | What::Version => true,
        });
        self.gone.retain(|id, _| nodes.get(id).is_some_and(|held| !held.up));
        for (id, _) in nodes.iter().filter(|(_, held)| !held.up) {
            self.gone.entry(*id).or_insert(now);
        }
        let settling = state.settling();
        if self.settling.map(|(since, _)| since) != settling {
            self.settling = settling.map(|since| (since, now));
        }
        if changed {
            self.moves.unsteady(now);
        }
        self.moves.follow(now, state);
    }

    fn act(&mut self, now: Mono, state: &State, members: &Members, out: &mut Vec<Output>) {
        self.ask(now, out);
        self.judge(now, state, out);
        self.let_go(now, state, members, out);
        self.move_shards(now, state, out);
        self.settle(now, state, out);
        self.tend_members(now, state, members, out);
    }

    /// Timers have settled when no lease of the former ones can be left; a version is raised when every node
    /// understands it.
    fn settle(&mut self, now: Mono, state: &State, out: &mut Vec<Output>) {
        if let Some((since, at)) = self.settling
            && now >= at + self.profile.eviction
            && !self.is_proposed(now, What::Settle)
        {
            self.propose(now, What::Settle, Command::ProfileSettled { since }, None, out);
        }
        let from = state.version();
        let spoken = state.nodes().map(|(_, node)| node.speaks).min().unwrap_or(from);
        let to = spoken.min(VERSION);
        if to > from && !self.is_proposed(now, What::Version) {
            out.push(Output::Tell(Event::VersionRaised { to }));
            let note = Some(format!("raised the cluster version to {to}"));
            self.propose(now, What::Version, Command::VersionRaise { from, to }, note, out);
        }
    }

    fn tend_members(&mut self, now: Mono, state: &State, members: &Members, out: &mut Vec<Output>) {
        // One at a time: until its effect is seen, or it must have been lost.
        if let Some((asked, at)) = &self.members
            && asked.voters == members.voters
            && asked.learners == members.learners
            && now.since(*at) < MEMBERS_AGAIN
        {
            return;
        }
        let lost = |(id, since): (&NodeId, &Mono)| (now.since(*since) >= VOTER_LOST_AFTER).then_some(*id);
        let lost: BTreeSet<_> = self.gone.iter().filter_map(lost).collect();
        let Some(plan) = voters::plan(state, self.me, members, &lost) else { return };
        self.members = Some((members.clone(), now));
        match plan {
            Plan::Change(steps) => {
                out.push(Output::Tell(Event::Members(steps.clone())));
                out.push(Output::Members(steps));
            }
            Plan::Transfer(to) => {
                out.push(Output::Tell(Event::HandsOver { to }));
                out.push(Output::Transfer { to });
            }
        }
    }
}
