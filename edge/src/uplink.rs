//! The uplink: QUIC connections to nodes of the cluster (`chappe_proto::mesh::uplink`).
//!
//! An edge holds [`UPLINKS`] of them where it knows as many nodes, and replaces one that breaks by one
//! to the next node. What they bring goes to the loop; while there is none the loop goes on with what it
//! has.

mod frames;
mod link;
mod tls;

pub use tls::{Tls, TlsError};

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::UPLINKS;
use chappe_proto::mesh::uplink::EdgeHello;

use crate::command::Handle;
use crate::health::Health;

/// The first pause before another attempt; each failure doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Which nodes an edge reports to, and by which certificates.
#[derive(Debug)]
pub struct Uplink {
    /// The nodes, best first.
    pub nodes: Vec<Node>,
    /// Certificates and keys.
    pub tls: Tls,
}

/// A node as an edge reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The address of its QUIC endpoint.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub name: String,
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
    pub(crate) nodes: Vec<Node>,
    pub(crate) tls: quinn::ClientConfig,
    pub(crate) hello: EdgeHello,
    pub(crate) realm: String,
    pub(crate) driver: Handle,
    pub(crate) health: Arc<Health>,
    /// The last feed number in force.
    pub(crate) applied: RefCell<Index>,
}

/// Keeps the uplinks up until the edge stops.
pub(crate) async fn run(shared: Shared, stop: tokio::sync::watch::Receiver<bool>) {
    let shared = Rc::new(shared);
    let slots = UPLINKS.min(shared.nodes.len());
    let taken = Rc::new(RefCell::new(vec![None; slots]));
    let links: Vec<_> = (0..slots)
        .map(|slot| tokio::task::spawn_local(keep(shared.clone(), taken.clone(), slot, stop.clone())))
        .collect();
    for link in links {
        // A link ends with the edge.
        let _ = link.await;
    }
}

/// Keeps one uplink up, with whichever node answers.
async fn keep(
    shared: Rc<Shared>,
    taken: Rc<RefCell<Vec<Option<usize>>>>,
    slot: usize,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let mut node = slot;
    let mut pause = PAUSE_FIRST;
    loop {
        node = next(&taken.borrow(), slot, node, shared.nodes.len());
        taken.borrow_mut()[slot] = Some(node);
        let Node { address, .. } = shared.nodes[node];
        shared.health.link(slot, LinkState::Connecting { address });
        let ended = link::run(&shared, slot, &shared.nodes[node], &mut stop).await;
        taken.borrow_mut()[slot] = None;
        if *stop.borrow() {
            return;
        }
        tracing::warn!(%address, reason = %ended.error, "uplink down");
        shared.health.link(slot, LinkState::Down { address, reason: ended.error.to_string() });
        pause = if ended.worked { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
        node += 1;
        tokio::select! {
            () = tokio::time::sleep(jitter(pause)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// The first node from `from` on that no other slot has.
fn next(taken: &[Option<usize>], slot: usize, from: usize, nodes: usize) -> usize {
    let others = |node: usize| taken.iter().enumerate().any(|(at, held)| at != slot && *held == Some(node));
    (from..from + nodes).map(|node| node % nodes).find(|node| !others(*node)).unwrap_or(0)
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
    fn slots_hold_different_nodes() {
        assert_eq!(next(&[None, None], 0, 0, 3), 0);
        assert_eq!(next(&[Some(0), None], 1, 0, 3), 1);
        assert_eq!(next(&[Some(0), None], 1, 3, 3), 1);
        assert_eq!(next(&[None], 0, 1, 1), 0);
    }

    #[test]
    fn jitter_stays_within_half_and_all() {
        for _ in 0..100 {
            let pause = jitter(PAUSE_MAX);
            assert!((PAUSE_MAX / 2..=PAUSE_MAX).contains(&pause));
        }
    }
}
