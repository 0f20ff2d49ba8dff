//! Which nodes are linked, and who is reached through whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::time::Mono;
use tokio::sync::watch;

use super::link::Link;
use crate::clock;

/// The links of a node at one moment.
#[derive(Clone, Default)]
pub struct Links {
    direct: BTreeMap<NodeId, Linked>,
    /// Nodes without a link, and the one to pass frames on.
    through: BTreeMap<NodeId, NodeId>,
    /// When links ended that have not come back.
    lost: BTreeMap<NodeId, Mono>,
}

#[derive(Clone)]
struct Linked {
    link: Arc<Link>,
    /// The nodes that the other side has links with.
    reaches: BTreeSet<NodeId>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("direct", &self.nodes()).field("through", &self.through).finish()
    }
}

impl Links {
    /// The nodes that there is a link with, by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.direct.keys().copied().collect()
    }

    /// One linked node after another, turn by turn: whoever needs just any.
    #[must_use]
    pub fn any(&self, turn: usize) -> Option<NodeId> {
        let nth = turn.checked_rem(self.direct.len())?;
        self.direct.keys().nth(nth).copied()
    }

    /// Whether there is a link with a node.
    #[must_use]
    pub fn is_direct(&self, node: NodeId) -> bool {
        self.direct.contains_key(&node)
    }

    /// The node that passes on what is sent to one without a link, where there is one.
    #[must_use]
    pub fn through(&self, node: NodeId) -> Option<NodeId> {
        self.through.get(&node).copied()
    }

    /// Whether a node can be sent anything.
    #[must_use]
    pub fn reaches(&self, node: NodeId) -> bool {
        self.is_direct(node) || self.through.contains_key(&node)
    }

    /// The round-trip time of a link, as QUIC estimates it now.
    #[must_use]
    pub fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.direct.get(&node).map(|linked| linked.link.connection.rtt())
    }

    /// Since when there is a link.
    #[must_use]
    pub fn since(&self, node: NodeId) -> Option<Mono> {
        self.direct.get(&node).map(|linked| linked.link.since)
    }

    /// When the link with a node ended, where there was one and there is none now.
    #[must_use]
    pub fn lost(&self, node: NodeId) -> Option<Mono> {
        self.lost.get(&node).copied()
    }

    /// The build of the other side, as it said itself.
    #[must_use]
    pub fn build(&self, node: NodeId) -> Option<&str> {
        self.direct.get(&node).map(|linked| linked.link.build.as_str())
    }

    pub(crate) fn link(&self, node: NodeId) -> Option<&Arc<Link>> {
        self.direct.get(&node).map(|linked| &linked.link)
    }

    /// The link that leads to a node, its own or the one of the node that passes on.
    pub(crate) fn towards(&self, node: NodeId) -> Option<&Arc<Link>> {
        self.link(node).or_else(|| self.link(*self.through.get(&node)?))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.direct.values().map(|linked| &linked.link)
    }

    /// Finds the quickest way to each node without a link.
    fn route(&mut self) {
        let mut best: BTreeMap<NodeId, (Duration, NodeId)> = BTreeMap::new();
        for (via, linked) in &self.direct {
            let way = (linked.link.connection.rtt(), *via);
            for node in linked.reaches.iter().filter(|node| !self.direct.contains_key(node)) {
                let held = best.entry(*node).or_insert(way);
                *held = way.min(*held);
            }
        }
        self.through = best.into_iter().map(|(node, (_, via))| (node, via)).collect();
    }
}

/// The links as they change.
pub(crate) struct Table(watch::Sender<Arc<Links>>);

impl Table {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }

    pub(crate) fn now(&self) -> Arc<Links> {
        Arc::clone(&self.0.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Links>> {
        self.0.subscribe()
    }

    /// A link is up: the one whose place it takes, if there was one.
    pub(crate) fn up(&self, link: Arc<Link>, reaches: Vec<NodeId>) -> Option<Arc<Link>> {
        let mut former = None;
        self.0.send_modify(|links| {
            let links = Arc::make_mut(links);
            let peer = link.peer;
            let linked = Linked { link, reaches: reaches.into_iter().collect() };
            links.lost.remove(&peer);
            former = links.direct.insert(peer, linked).map(|linked| linked.link);
            links.route();
        });
        former
    }

    /// A link is gone.
    pub(crate) fn down(&self, link: &Arc<Link>) {
        self.0.send_if_modified(|links| {
            if !links.link(link.peer).is_some_and(|held| Arc::ptr_eq(held, link)) {
                return false; // another has its place
            }
            let links = Arc::make_mut(links);
            links.direct.remove(&link.peer);
            links.lost.insert(link.peer, clock::mono());
            links.route();
            true
        });
    }

    /// The other side of a link has said whom it reaches.
    pub(crate) fn heard(&self, link: &Arc<Link>, reaches: Vec<NodeId>) {
        self.0.send_if_modified(|links| {
            if !links.link(link.peer).is_some_and(|held| Arc::ptr_eq(held, link)) {
                return false;
            }
            let links = Arc::make_mut(links);
            if let Some(linked) = links.direct.get_mut(&link.peer) {
                linked.reaches = reaches.into_iter().collect();
            }
            links.route();
            true
        });
    }
}
