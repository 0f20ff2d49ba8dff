//! Who gets no link, and that everybody learns why.

use chappe_cluster::clock;
use chappe_cluster::mesh::pki::{Authority, Holder};
use chappe_cluster::mesh::{Config, Credentials, Refusal};
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::registry::{Command, State};

use crate::common::{Peer, apply, authority, config, nodes, registry, socket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_certificate_is_refused_and_both_sides_know() {
    let (first, at) = socket();
    let (second, address) = socket();
    let state = registry(&[at, address]);
    let mut one = Peer::start(&authority(), NodeId(1), first, &state);
    // Another authority that gives itself the cluster's id.
    let mut two = Peer::start(&authority(), NodeId(2), second, &state);
    for peer in [&mut one, &mut two] {
        peer.refusal("foreign", |incident| matches!(incident.refusal, Refusal::Foreign(_))).await;
        assert!(peer.mesh.links().borrow().nodes().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_is_refused() {
    let authority = authority();
    let (first, at) = socket();
    let (second, address) = socket();
    let state = registry(&[at, address, address]);
    let mut one = Peer::start(&authority, NodeId(1), first, &state);
    // Node 3 by its own word, node 2 by its certificate.
    let credentials = authority.issue(&Holder::Node(NodeId(2)), clock::unix()).unwrap().into();
    let mut three = Peer::with(credentials, NodeId(3), second, &state);
    let impostor = Refusal::Impostor { certified: NodeId(2), says: NodeId(3) };
    one.refuses(&impostor).await;
    three.is_refused(&impostor).await;
    assert!(one.mesh.links().borrow().nodes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_loses_its_links_and_gets_none() {
    let mut peers = nodes(&authority(), 2).await;
    let mut state = State::clone(&peers[0].states.borrow());
    let generation = state.node(NodeId(2)).unwrap().generation;
    apply(&mut state, Command::NodeDown { node: NodeId(2), generation, moves: vec![] });
    apply(&mut state, Command::NodeRemove { node: NodeId(2) });
    peers[0].states.send_replace(state.into());
    let removed = Refusal::Removed { node: NodeId(2) };
    peers[1].is_refused(&removed).await;
    peers[0].unlinked(2).await;
    peers[1].unlinked(1).await;
    // It goes on trying, and is refused.
    peers[0].refuses(&removed).await;
    assert!(peers[0].mesh.links().borrow().nodes().is_empty());
}

/// A certificate of the right authority, with a node of another cluster behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_clusters_node_is_refused() {
    let other = ClusterId::from_random([8; 15]);
    let authority = authority();
    let foreign = Authority::make(other, clock::unix()).unwrap();
    let (first, at) = socket();
    let (second, address) = socket();
    let state = registry(&[at, address]);
    let mut one = Peer::start(&authority, NodeId(1), first, &state);
    // It trusts our authority too, and dials us by our names.
    let mut credentials: Credentials = foreign.issue(&Holder::Node(NodeId(2)), clock::unix()).unwrap().into();
    credentials.authorities.push(authority.certificate().clone());
    let peers = vec![(NodeId(1), vec![at])];
    let config = Config { cluster: other, peers, ..config(credentials, NodeId(2), second) };
    let mut two = Peer::of(config, &State::default());
    for peer in [&mut one, &mut two] {
        peer.refusal("foreign", |incident| matches!(incident.refusal, Refusal::Foreign(_))).await;
        assert!(peer.mesh.links().borrow().nodes().is_empty());
    }
}
