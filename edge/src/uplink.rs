//! The uplink: QUIC connections to nodes of the cluster (`chappe_proto::mesh::uplink`).
//!
//! An edge holds [`UPLINKS`] of them where it knows as many nodes, in different regions where it can, and
//! replaces one that breaks by one to another node; to a better node it comes back lazily. What they bring goes to
//! the loop; while there is none the loop goes on with what it has.

mod alternates;
mod asks;
mod choose;
mod done;
mod frames;
mod identity;
mod learn;
mod link;
mod report;
mod tls;
mod usage;

pub use asks::Process;
use identity::Identity;
pub use identity::Keep;
pub use tls::{Tls, TlsError};

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{Index, NodeId, Region};
use chappe_proto::limits::UPLINKS;
use chappe_proto::mesh::uplink::NodeHello;
use chappe_proto::time::Mono;
use tokio::sync::{Notify, watch};

use self::alternates::Alternates;
use self::asks::Asks;
use self::choose::Nodes;
use self::done::Done;
use self::identity::Keeper;
use self::link::LinkError;
use self::usage::Teller;
use crate::clock;
use crate::command::{Command, Handle};
use crate::health::Health;
use crate::probe::outside::Outside;

/// Whether there is a better pair of nodes is looked at this often.
const LAZILY: Duration = Duration::from_secs(20);
/// A node that was better all along, or is again, is gone back to once it has been calm for this long.
const CALM: Duration = Duration::from_secs(60);

/// Which nodes an edge reports to, and by which certificates.
#[derive(Debug)]
pub struct Uplink {
    /// The nodes that it begins with, best first; the feed tells it the others.
    pub nodes: Vec<Node>,
    /// Certificates and keys.
    pub tls: Tls,
    /// Where it keeps what it learns: nodes, authorities, its renewed certificate.
    pub keep: Option<Arc<dyn Keep>>,
    /// What operators are told of the process around it; without it nothing.
    pub process: Option<Arc<dyn Process>>,
}

/// What the uplinks of an edge of a cluster begin with.
pub(crate) struct Joined {
    nodes: Vec<Node>,
    identity: Identity,
    keep: Option<Arc<dyn Keep>>,
    process: Option<Arc<dyn Process>>,
}

impl TryFrom<Uplink> for Joined {
    type Error = TlsError;

    fn try_from(Uplink { nodes, tls, keep, process }: Uplink) -> Result<Self, TlsError> {
        Ok(Self { nodes, identity: Identity::new(tls)?, keep, process })
    }
}

/// A node as an edge reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, where that is known.
    pub id: Option<NodeId>,
    /// Where it stands, where that is known.
    pub region: Option<Region>,
    /// The address of its QUIC endpoint.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub name: String,
}

impl Node {
    /// One of which nothing is known but its address and the name in its certificate.
    #[must_use]
    pub const fn at(address: SocketAddr, name: String) -> Self {
        Self { id: None, region: None, address, name }
    }
}

/// How an uplink is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Being set up.
    Connecting {
        /// The node's address.
        address: SocketAddr,
    },
    /// The node has said hello.
    Up {
        /// The node's address.
        address: SocketAddr,
        /// Its id.
        node: NodeId,
        /// The round-trip time, in microseconds.
        rtt_us: u32,
    },
    /// Broken; tried again shortly.
    Down {
        /// The node's address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// What all uplinks of an edge share.
pub(crate) struct Shared {
    nodes: RefCell<Nodes>,
    identity: RefCell<Identity>,
    keep: Option<Rc<Keeper>>,
    realm: String,
    driver: Handle,
    health: Arc<Health>,
    /// The last feed number in force.
    applied: RefCell<Index>,
    done: RefCell<Done>,
    /// When a new certificate was asked for last.
    asked_at: Cell<Option<Mono>>,
    /// Until when none is asked for.
    rests_until: Cell<Mono>,
    /// Where new clients are to go, as each node says.
    alternates: RefCell<Alternates>,
    /// Which node each uplink is with, or on its way to; and whether it has said hello.
    held: RefCell<[Option<(Node, bool)>; UPLINKS]>,
    teller: Teller,
    asks: Asks,
    /// Nodes, authorities or the certificate are others.
    changed: Notify,
    /// Why the cluster has this edge no more.
    removed: watch::Sender<Option<String>>,
    /// Probes of other edges that are under way.
    outside: Rc<Outside>,
}

impl Shared {
    pub(crate) fn new(
        Joined { nodes, identity, keep, process }: Joined,
        (region, realm): (Region, String),
        driver: Handle,
        health: Arc<Health>,
        removed: watch::Sender<Option<String>>,
    ) -> Self {
        Self {
            nodes: RefCell::new(Nodes::new(nodes, region)),
            identity: RefCell::new(identity),
            keep: keep.map(Keeper::new),
            realm,
            driver,
            health,
            applied: RefCell::default(),
            done: RefCell::default(),
            asked_at: Cell::default(),
            rests_until: Cell::default(),
            alternates: RefCell::default(),
            held: RefCell::default(),
            teller: Teller::default(),
            asks: Asks::new(process),
            changed: Notify::new(),
            removed,
            outside: Rc::default(),
        }
    }

    /// The nodes of the other uplinks.
    fn others(&self, slot: usize) -> Vec<Node> {
        let held = self.held.borrow();
        let others = held.iter().enumerate().filter(|(at, _)| *at != slot);
        others.filter_map(|(_, held)| held.as_ref().map(|(node, _)| node.clone())).collect()
    }

    /// Whether another uplink is with this node.
    fn is_taken(&self, slot: usize, node: &Node) -> bool {
        let same = |other: &Node| other.address == node.address || (node.id.is_some() && other.id == node.id);
        self.others(slot).iter().any(same)
    }

    /// The node to link to next, and from when on. The second uplink takes no node from the first.
    fn next(&self, slot: usize) -> Option<(Node, Mono)> {
        let nodes = self.nodes.borrow();
        if slot > 0 && slot >= nodes.len() {
            return None;
        }
        nodes.next(clock::mono(), &self.others(slot))
    }

    /// Whether every other uplink stands, where there are nodes enough.
    fn others_stand(&self, slot: usize) -> bool {
        if self.nodes.borrow().len() < 2 {
            return true;
        }
        let held = self.held.borrow();
        let mut others = held.iter().enumerate().filter(|(at, _)| *at != slot);
        others.all(|(_, held)| held.as_ref().is_some_and(|(_, stands)| *stands))
    }

    /// A node has said who it is. None where another uplink is with it already, by another address.
    fn meet(&self, slot: usize, node: &Node, hello: NodeHello) -> Option<Node> {
        let NodeHello { node: id, build, realm, .. } = hello;
        tracing::info!(address = %node.address, node = %id, build, "uplink up");
        if realm != self.realm {
            tracing::warn!(theirs = realm, ours = self.realm, "the node issues credentials of another realm");
        }
        let met = Node { id: Some(id), ..node.clone() };
        self.nodes.borrow_mut().met(node.address, id);
        if self.is_taken(slot, &met) {
            return None;
        }
        self.hold(slot, Some((met.clone(), true)));
        self.changed.notify_waiters();
        Some(met)
    }

    fn hold(&self, slot: usize, held: Option<(Node, bool)>) {
        if let Some(place) = self.held.borrow_mut().get_mut(slot) {
            *place = held;
        }
    }
}

/// Keeps the uplinks up until the edge stops.
pub(crate) async fn run(shared: Shared, stop: watch::Receiver<bool>) {
    let shared = Rc::new(shared);
    let links: Vec<_> =
        (0..UPLINKS).map(|slot| tokio::task::spawn_local(keep(shared.clone(), slot, stop.clone()))).collect();
    for link in links {
        // A link ends with the edge.
        let _ = link.await;
    }
}

/// Keeps one uplink up, with whichever node is best.
async fn keep(shared: Rc<Shared>, slot: usize, mut stop: watch::Receiver<bool>) {
    let mut removed = shared.removed.subscribe();
    loop {
        if *stop.borrow() || removed.borrow().is_some() {
            return;
        }
        let next = shared.next(slot);
        let rests = match &next {
            Some((_, from)) => jitter(from.since(clock::mono())),
            // Until there are more nodes.
            None => identity::LOOK_EVERY,
        };
        if !rests.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(rests) => {}
                () = shared.changed.notified() => continue,
                _ = stop.changed() => continue,
                _ = removed.changed() => continue,
            }
        }
        if let Some((node, _)) = next.filter(|(node, _)| !shared.is_taken(slot, node)) {
            serve(&shared, slot, node, &mut stop).await;
        }
    }
}

/// One link from its beginning to its end.
async fn serve(shared: &Shared, slot: usize, node: Node, stop: &mut watch::Receiver<bool>) {
    let address = node.address;
    shared.hold(slot, Some((node.clone(), false)));
    shared.health.link(slot, LinkState::Connecting { address });
    let error = link::run(shared, slot, &node, stop).await;
    shared.hold(slot, None);
    let left = shared.alternates.borrow_mut().handle_end(slot);
    if let Some(alternates) = left {
        // The loop may have ended.
        let _ = shared.driver.ask(|reply| Command::Alternates(alternates, reply)).await;
    }
    match &error {
        LinkError::Stopping => return,
        LinkError::Better | LinkError::Renewed => {
            tracing::info!(%address, reason = %error, "uplink moves");
        }
        LinkError::Removed(why) => {
            shared.removed.send_replace(Some(why.clone()));
        }
        _ => {
            tracing::warn!(%address, reason = %error, "uplink down");
            shared.nodes.borrow_mut().failed(clock::mono(), address);
        }
    }
    shared.health.link(slot, LinkState::Down { address, reason: error.to_string() });
    // The other uplink may take what this one has let go of.
    shared.changed.notify_waiters();
}

/// Half of `pause` to all of it, so that the edges of a node that died do not come back as one.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [255];
    // Without random bytes all of it.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_half_and_all() {
        let pause = Duration::from_secs(5);
        for _ in 0..100 {
            assert!((pause / 2..=pause).contains(&jitter(pause)));
        }
    }
}
