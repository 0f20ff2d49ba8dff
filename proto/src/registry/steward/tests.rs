mod grants;
mod members;
mod moves;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::registry::Entry;
use crate::registry::profile::LAN;
use crate::registry::tests::{Log, region, up};
use crate::time::Unix;

const T: Duration = LAN.eviction;
const MS: Duration = Duration::from_millis(1);

/// A leader's office: node 1 leads; nodes renew, reads complete and proposals are applied at once, but for
/// those that a test holds back.
struct Office {
    log: Log,
    steward: Steward,
    members: Members,
    now: Mono,
    n: u64,
    renewing: BTreeSet<NodeId>,
    reads_held: Option<Vec<u64>>,
    proposals_held: Option<Vec<(u64, Command)>>,
    grants: Vec<(NodeId, Mono)>,
    applied: Vec<(Mono, Command, Outcome)>,
    asked: Vec<Output>,
    events: Vec<Event>,
}

impl Office {
    fn of(log: Log) -> Self {
        let all: BTreeSet<_> = log.0.nodes().map(|(id, _)| id).collect();
        let now = Mono(Duration::from_secs(100));
        let members = Members {
            voters: all.iter().copied().take(if all.len() < 3 { 1 } else { 3 }).collect(),
            learners: all.iter().copied().skip(if all.len() < 3 { 1 } else { 3 }).take(2).collect(),
            caught_up: all.clone(),
            recent: all.clone(),
            outgoing: BTreeSet::new(),
        };
        Self {
            steward: Steward::begin(now, NodeId(1), &log.0),
            log,
            members,
            now,
            n: 0,
            renewing: all,
            reads_held: None,
            proposals_held: None,
            grants: Vec::new(),
            applied: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
        }
    }

    fn with_nodes(n: u64) -> Self {
        Self::of(Log::with_nodes(n))
    }

    fn renew(&mut self, node: NodeId) {
        self.n += 1;
        let (n, mut out) = (self.n, Vec::new());
        let generation = self.log.0.node(node).map_or(Generation(0), |node| node.generation);
        self.steward.handle_renewal(self.now, node, generation, n, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Read { number } => match &mut self.reads_held {
                    Some(held) => held.push(number),
                    None => self.read(number),
                },
                Output::Propose { number, command, .. } => match &mut self.proposals_held {
                    Some(held) => held.push((number, command)),
                    None => self.apply(number, command),
                },
                Output::Grant { to, .. } => self.grants.push((to, self.now)),
                Output::Tell(event) => self.events.push(event),
                asked @ (Output::Members(_) | Output::Transfer { .. }) => self.asked.push(asked),
            }
        }
    }

    fn read(&mut self, number: u64) {
        let mut out = Vec::new();
        self.steward.handle_read(self.now, number, Some(self.log.0.index()), &mut out);
        self.carry_out(out);
    }

    fn complete_reads(&mut self) {
        for number in self.reads_held.take().unwrap_or_default() {
            self.read(number);
        }
    }

    fn apply(&mut self, number: u64, command: Command) {
        let index = Index(self.log.0.index().0 + 1);
        let entry = Entry { at: Unix::from_secs(9), by: None, note: None, command: command.clone() };
        assert!(entry.encode().is_ok(), "it is no longer than an entry may be");
        let outcome = self.log.0.apply(index, entry);
        self.applied.push((self.now, command, outcome.clone()));
        let mut out = Vec::new();
        let (state, members) = (&self.log.0, &self.members);
        self.steward.handle_outcome(self.now, number, Some(&outcome), state, members, &mut out);
        self.carry_out(out);
    }

    fn apply_held(&mut self) {
        for (number, command) in self.proposals_held.take().unwrap_or_default() {
            self.apply(number, command);
        }
    }

    /// What is decided by others.
    fn does(&mut self, command: Command) {
        self.log.does(command);
        let mut out = Vec::new();
        self.steward.handle_state(self.now, &self.log.0, &self.members, &mut out);
        self.carry_out(out);
    }

    /// Time passes: every 10 ms the loop runs, every 100 ms nodes renew.
    fn run(&mut self, step: Duration) {
        let end = self.now + step;
        while self.now < end {
            self.now = self.now + 10 * MS;
            if self.now.0.as_millis().is_multiple_of(100) {
                for node in self.renewing.clone() {
                    self.renew(node);
                }
            }
            if self.now >= self.steward.poll_timeout() {
                self.timeout();
            }
        }
    }

    fn timeout(&mut self) {
        let mut out = Vec::new();
        self.steward.handle_timeout(self.now, &self.log.0, &self.members, &mut out);
        self.carry_out(out);
    }

    fn released(&mut self, node: u64, applied: Index) {
        let moving = self.log.0.shards().filter(|(_, s)| s.owner == Some(NodeId(node)) && s.moving.is_some());
        let shards: Vec<_> = moving.map(|(shard, entry)| (shard, entry.epoch)).collect();
        let mut out = Vec::new();
        self.steward.handle_released(self.now, NodeId(node), &shards, applied, &self.log.0, &mut out);
        self.carry_out(out);
    }

    /// Releases what moves away from a node until it owns nothing.
    fn drains(&mut self, node: u64) {
        for _ in 0..100 {
            self.run(50 * MS);
            self.released(node, self.log.0.index());
            if self.log.owned(node).is_empty() {
                return;
            }
        }
        panic!("node {node} does not drain");
    }

    fn fall_silent(&mut self, node: u64) {
        assert!(self.renewing.remove(&NodeId(node)));
    }

    fn is_up(&self, node: u64) -> bool {
        self.log.0.is_up(NodeId(node))
    }

    fn last_grant(&self, node: u64) -> Mono {
        self.grants.iter().rfind(|(to, _)| *to == NodeId(node)).unwrap().1
    }

    /// What operators were told of moves, and whether a node drained.
    fn moved(&self) -> Vec<(usize, bool)> {
        let moved = |event: &Event| match event {
            Event::Moved { shards, drain } => Some((*shards, *drain)),
            _ => None,
        };
        self.events.iter().filter_map(moved).collect()
    }

    fn moving(&self) -> usize {
        self.log.0.shards().filter(|(_, shard)| shard.moving.is_some()).count()
    }

    /// When a node's removal was proposed.
    fn downs(&self) -> BTreeMap<NodeId, Mono> {
        let down = |(at, command, outcome): &(Mono, Command, Outcome)| match command {
            Command::NodeDown { node, .. } if *outcome == Outcome::Done => Some((*node, *at)),
            _ => None,
        };
        self.applied.iter().filter_map(down).collect()
    }
}

fn drain(node: u64) -> Command {
    Command::NodeSet { node: NodeId(node), weight: 1, draining: true }
}
