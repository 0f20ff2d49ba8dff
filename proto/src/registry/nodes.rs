//! Nodes: who they are, where they are reached, how often they began.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Moves, Outcome, Refusal, State, Thing};
use crate::id::{Generation, NodeId, Region};
use crate::limits::{BUILD_MAX, NODE_ADDRESSES_MAX, NODES_MAX, URL_MAX};
use crate::time::Unix;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where it stands.
    pub region: Region,
    /// Counts the starts of its process; 0 before the first.
    pub generation: Generation,
    /// Whether it is there.
    pub state: NodeState,
    /// Its part of the shards, relative to others'.
    pub weight: u16,
    /// Whether an operator says that it is to own none.
    pub draining: bool,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Its build, as `chappe --version` prints it.
    pub build: String,
    /// The newest cluster version that it understands.
    pub speaks: u32,
    /// Since when it is in its state.
    pub since: Unix,
    /// Whether it is to leave for good, once it owns nothing and is no member of Raft.
    #[serde(default)]
    pub leaving: bool,
    /// Whether its process is about to stop, and is to own none until the next one begins.
    #[serde(default)]
    pub stopping: bool,
}

impl Node {
    /// Whether it is to own no shards, for whichever reason.
    #[must_use]
    pub const fn drains(&self) -> bool {
        self.draining || self.stopping
    }
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Its process has begun and was not found gone.
    Up,
    /// Found gone, or never begun.
    Down,
}

/// Where a node is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// By other nodes and by edges (QUIC).
    #[serde(default)]
    pub mesh: Vec<SocketAddr>,
    /// By clients: origins such as `https://a.example.net`, to which paths are appended.
    #[serde(default)]
    pub public: Vec<String>,
}

impl NodeAddresses {
    fn check(&self) -> Result<(), Refusal> {
        let fine = |url: &String| {
            !url.is_empty()
                && url.len() <= URL_MAX
                && !url.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if self.mesh.len() > NODE_ADDRESSES_MAX || self.public.len() > NODE_ADDRESSES_MAX {
            return Err(Refusal::Full { thing: Thing::Address, max: NODE_ADDRESSES_MAX as u64 });
        }
        if self.public.iter().all(fine) { Ok(()) } else { Err(Refusal::Invalid(Thing::Address)) }
    }
}

impl State {
    /// A node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The id that the next node will have.
    #[must_use]
    pub const fn next_node(&self) -> NodeId {
        NodeId(self.last_node.0.saturating_add(1))
    }

    /// Whether a node of that id was there and was removed: its certificate is worth nothing.
    #[must_use]
    pub fn was_removed(&self, node: NodeId) -> bool {
        node.0 > 0 && node <= self.last_node && !self.nodes.contains_key(&node)
    }

    /// Why there is no such node.
    pub(super) fn no_node(&self, node: NodeId) -> Refusal {
        if self.was_removed(node) { Refusal::Removed(Thing::Node) } else { Refusal::Unknown(Thing::Node) }
    }

    /// Whether a node's process has begun and was not found gone.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|node| node.state == NodeState::Up)
    }

    pub(super) fn node_add(&mut self, node: NodeId, region: Region) -> Result<Outcome, Refusal> {
        // Ids grow, so that none is ever reused: Raft would take a newcomer for its predecessor.
        if node <= self.last_node {
            return Err(Refusal::NotNext { thing: Thing::Node, next: self.next_node().0 });
        }
        self.node_insert(node, region, NodeAddresses::default())
    }

    /// A node that has not begun yet.
    pub(super) fn node_insert(
        &mut self,
        node: NodeId,
        region: Region,
        addresses: NodeAddresses,
    ) -> Result<Outcome, Refusal> {
        addresses.check()?;
        if self.nodes.len() >= NODES_MAX {
            return Err(Refusal::Full { thing: Thing::Node, max: NODES_MAX as u64 });
        }
        self.last_node = node;
        let fresh = Node {
            region,
            generation: Generation(0),
            state: NodeState::Down,
            weight: 1,
            draining: false,
            addresses,
            build: String::new(),
            speaks: self.version,
            since: self.now,
            leaving: false,
            stopping: false,
        };
        Arc::make_mut(&mut self.nodes).insert(node, fresh);
        Ok(Outcome::Done)
    }

    /// Whether a life of any node's process has ended so shortly before `now`, of one that was removed since as
    /// well.
    #[must_use]
    pub fn lost_any_within(&self, now: Unix, within: Duration) -> bool {
        let lost = self.nodes().any(|(_, node)| {
            let lives = node.generation.0 - u64::from(node.state == NodeState::Up && node.generation.0 > 0);
            lives > 0 && node.since + within > now
        });
        lost || self.removed_since.is_some_and(|since| since + within > now)
    }

    pub(super) fn node_up(
        &mut self,
        node: NodeId,
        addresses: NodeAddresses,
        build: String,
        speaks: u32,
    ) -> Result<Outcome, Refusal> {
        addresses.check()?;
        if build.len() > BUILD_MAX {
            return Err(Refusal::Invalid(Thing::Build));
        }
        if speaks < self.version {
            return Err(Refusal::TooOld { node, speaks });
        }
        let since = self.now;
        let missing = self.no_node(node);
        let held = Arc::make_mut(&mut self.nodes).get_mut(&node).ok_or(missing)?;
        let generation = Generation(held.generation.0.saturating_add(1));
        (held.generation, held.state, held.since) = (generation, NodeState::Up, since);
        (held.addresses, held.build, held.speaks, held.stopping) = (addresses, build, speaks, false);
        self.raise_epochs_of(node);
        Ok(Outcome::Up { generation })
    }

    pub(super) fn node_down(
        &mut self,
        node: NodeId,
        generation: Generation,
        moves: &[Moves],
    ) -> Result<Outcome, Refusal> {
        let held = self.node(node).ok_or(Refusal::Unknown(Thing::Node))?;
        if held.generation != generation {
            return Err(Refusal::OtherGeneration(held.generation));
        }
        self.check_moves(moves, |state, shard, to| {
            shard.owner == Some(node) && to != node && state.is_up(to)
        })?;
        self.carry_out(moves);
        let since = self.now;
        if let Some(held) = Arc::make_mut(&mut self.nodes).get_mut(&node)
            && held.state != NodeState::Down
        {
            (held.state, held.since) = (NodeState::Down, since);
        }
        self.call_off_moves_to(node);
        Ok(Outcome::Done)
    }

    pub(super) fn node_set(&mut self, node: NodeId, weight: u16, draining: bool) -> Result<Outcome, Refusal> {
        let held = Arc::make_mut(&mut self.nodes).get_mut(&node).ok_or(Refusal::Unknown(Thing::Node))?;
        (held.weight, held.draining) = (weight, draining);
        // Who serves again does not leave.
        held.leaving &= draining;
        Ok(Outcome::Done)
    }

    pub(super) fn node_stopping(&mut self, node: NodeId, generation: Generation) -> Result<Outcome, Refusal> {
        let missing = self.no_node(node);
        let held = Arc::make_mut(&mut self.nodes).get_mut(&node).ok_or(missing)?;
        if held.generation != generation {
            return Err(Refusal::OtherGeneration(held.generation));
        }
        held.stopping = true;
        Ok(Outcome::Done)
    }

    pub(super) fn node_leave(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        if self.node(node).is_some() && self.nodes.len() == 1 {
            return Err(Refusal::Last(Thing::Node));
        }
        let missing = self.no_node(node);
        let held = Arc::make_mut(&mut self.nodes).get_mut(&node).ok_or(missing)?;
        (held.draining, held.leaving) = (true, true);
        Ok(Outcome::Done)
    }

    pub(super) fn node_remove(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        if self.node(node).is_none() {
            return Err(self.no_node(node));
        }
        if self.is_up(node) || self.shards().any(|(_, shard)| shard.owner == Some(node)) {
            return Err(Refusal::InUse(Thing::Node));
        }
        let removed = Arc::make_mut(&mut self.nodes).remove(&node);
        let lived = removed.filter(|node| node.generation.0 > 0).map(|node| node.since);
        self.removed_since = self.removed_since.max(lived);
        Ok(Outcome::Done)
    }
}
