//! Certificates are renewed by themselves, and the authority is rotated, without a link lost.

use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::mesh::identity::IdentityDir;
use chappe_cluster::mesh::pki::{Authority, Holder, is_signed_by, validity};
use chappe_cluster::mesh::{Config, Credentials, Incident, Refusal};
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::mesh::node::{Answer, Ask};
use chappe_proto::mesh::uplink::{EdgeHello, Secret};
use chappe_proto::registry::{Command, EdgeState, NodeAddresses, State};
use chappe_proto::time::Mono;
use rustls::pki_types::CertificateDer;

use crate::common::{Heard, Peer, SOON, apply, cluster, config, founded, region, socket};

/// Waits until a node presents credentials that are so.
async fn presents(peer: &Peer, what: &str, so: impl Fn(&Credentials) -> bool) {
    let mut credentials = peer.mesh.credentials();
    let waited = tokio::time::timeout(SOON, credentials.wait_for(|held| so(held))).await;
    assert!(waited.is_ok(), "node {}: not {what}", peer.node);
}

/// A registry with one authority more, which certifies from then on.
fn rotated(state: &State) -> (State, CertificateDer<'static>) {
    let mut state = state.clone();
    let fresh = Authority::make(cluster(), clock::unix()).unwrap();
    let certificate = fresh.certificate().clone();
    let number = state.authorities().next();
    let key = Secret(fresh.key());
    apply(&mut state, Command::AuthorityAdd { number, certificate: certificate.to_vec(), key });
    (state, certificate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_before_it_ends_and_links_outlive_it() {
    let data = tempfile::tempdir().unwrap();
    let brief = |config| Config { certificate_ttl: Duration::from_secs(2), ..config };
    let (mut peers, state) = founded(data.path(), 2, brief).await;
    // Another authority makes them take certificates of their own: those last two seconds.
    let (state, _) = rotated(&state);
    for peer in &peers {
        peer.states.send_replace(state.clone().into());
        let since = since(peer);
        let first = Arc::clone(&peer.mesh.credentials().borrow());
        presents(peer, "renewed", |held| held.certificate != first.certificate).await;
        let second = Arc::clone(&peer.mesh.credentials().borrow());
        let end = validity(&second.certificate).unwrap().1;
        assert!(end < clock::unix() + Duration::from_secs(3));
        presents(peer, "renewed twice", |held| validity(&held.certificate).unwrap().1 > end).await;
        assert!(clock::unix() < end, "in time");
        assert_ne!(peer.mesh.credentials().borrow().key, second.key, "with a key of its own");
        assert_eq!(self::since(peer), since, "the link stays");
    }
    // The disk has the newest: after a restart it is linked by it.
    let dir = IdentityDir::of(&data.path().join("2"));
    let first = Arc::clone(&peers[1].mesh.credentials().borrow());
    presents(&peers[1], "renewed again", |held| held.certificate != first.certificate).await;
    drop(peers.pop());
    let (socket, address) = socket();
    let mut moved = state;
    let addresses = NodeAddresses { mesh: vec![address], public: Vec::new() };
    apply(&mut moved, Command::NodeUp { node: NodeId(2), addresses, build: "test".into(), speaks: 1 });
    peers[0].states.send_replace(moved.clone().into());
    let identity = dir.load().unwrap().unwrap();
    assert_eq!(identity.peers.len(), 1, "where the other is reached is kept too");
    let again = Peer::of(Config::of(identity, dir, socket), &moved);
    again.linked(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_rotated_under_a_running_cluster() {
    let data = tempfile::tempdir().unwrap();
    let (mut peers, state) = founded(data.path(), 3, |config| config).await;
    // One is down while it happens.
    let late = peers.pop().unwrap();
    let (kept, knew) = (IdentityDir::of(&data.path().join("3")), Arc::clone(&late.states.borrow()));
    drop(late);
    peers[0].unlinked(3).await;
    peers[1].unlinked(3).await;
    let before: Vec<_> = peers.iter().map(since).collect();
    let (next, fresh) = rotated(&state);
    for peer in &peers {
        peer.states.send_replace(next.clone().into());
        presents(peer, "certified by the new authority", |held| is_signed_by(&held.certificate, &fresh))
            .await;
    }
    assert_eq!(peers.iter().map(since).collect::<Vec<_>>(), before, "no link was lost");

    // It knows the former authority alone, by its disk and by its registry.
    let (socket, address) = socket();
    let mut moved = next.clone();
    let addresses = NodeAddresses { mesh: vec![address], public: Vec::new() };
    apply(&mut moved, Command::NodeUp { node: NodeId(3), addresses, build: "test".into(), speaks: 1 });
    for peer in &peers {
        peer.states.send_replace(moved.clone().into());
    }
    let late = Peer::of(Config::of(kept.load().unwrap().unwrap(), kept, socket), &knew);
    late.linked(1).await;
    late.linked(2).await;
    late.states.send_replace(moved.clone().into());
    presents(&late, "certified by the new authority", |held| is_signed_by(&held.certificate, &fresh)).await;

    // The former one ends: who still comes with a certificate of it is a stranger.
    apply(&mut moved, Command::AuthorityRemove { number: 1 });
    for peer in &peers {
        peer.states.send_replace(moved.clone().into());
        presents(peer, "trusting the new one alone", |held| held.authorities.len() == 1).await;
    }
    late.linked(1).await;
    let old = Authority::of(
        cluster(),
        &state.authorities().get(1).unwrap().certificate.0,
        &state.authorities().get(1).unwrap().key.0,
    );
    let issued = old.unwrap().issue(&Holder::Node(NodeId(3)), clock::unix()).unwrap();
    late.mesh.stop().await;
    let (socket, _) = crate::common::socket();
    let first = (NodeId(1), moved.node(NodeId(1)).unwrap().addresses.mesh.clone());
    let config = Config { peers: vec![first], ..config(issued.into(), NodeId(3), socket) };
    let mut stranger = Peer::of(config, &State::default());
    let foreign = |incident: &Incident| matches!(incident.refusal, Refusal::Foreign(_));
    stranger.refusal("foreign", foreign).await;
    assert!(stranger.mesh.links().borrow().nodes().is_empty());
}

/// When the links came up.
fn since(peer: &Peer) -> Vec<Option<Mono>> {
    let links = peer.mesh.links();
    (1..=3).map(|node| links.borrow().since(NodeId(node))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_certifies_another_ones_key() {
    let data = tempfile::tempdir().unwrap();
    let (peers, _) = founded(data.path(), 2, |config| config).await;
    let asked = peers[1].mesh.request(NodeId(1), Ask::Certify { public_key: vec![1] }, SOON).await;
    assert!(matches!(asked, Ok(Answer::Failed(_))), "{asked:?}");
}

/// A former authority ends by itself once nobody is certified by it: not while anybody may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_authority_ends_when_nobody_needs_it() {
    let data = tempfile::tempdir().unwrap();
    let at_once = |config| Config { authority_rest: Duration::from_millis(20), ..config };
    let (mut peers, state) = founded(data.path(), 2, at_once).await;
    let (mut next, fresh) = rotated(&state);
    // An edge that nobody has seen with a certificate of the new one.
    let edge = EdgeId::new("edge").unwrap();
    let hello = edge_hello(&edge);
    apply(&mut next, Command::EdgeUp(hello));
    for peer in &peers {
        peer.states.send_replace(next.clone().into());
        presents(peer, "certified by the new authority", |held| is_signed_by(&held.certificate, &fresh))
            .await;
    }
    let held = Answer::Certified { node: 2, edges: Vec::new() };
    for peer in 1..=2 {
        let answer = peers[0].mesh.request(NodeId(peer), Ask::Certified, SOON).await;
        assert_eq!(answer, Ok(held.clone()), "both have taken one of the new authority");
    }
    let proposed = peers[0].hear("a proposal", |heard| match heard {
        Heard::Proposed(command) => Some(command),
        _ => None,
    });
    assert!(tokio::time::timeout(Duration::from_millis(300), proposed).await.is_err(), "it is still needed");
    let remove = Command::EdgeSet { edge, state: EdgeState::Removed, weight: 1 };
    apply(&mut next, remove);
    for peer in &peers {
        peer.states.send_replace(next.clone().into());
    }
    let proposed = peers[0].hear("a proposal", |heard| match heard {
        Heard::Proposed(command) => Some(command),
        _ => None,
    });
    assert_eq!(proposed.await, Command::AuthorityRemove { number: 1 });
    presents(&peers[0], "trusting the new one alone", |held| held.authorities.len() == 1).await;
}

fn edge_hello(edge: &EdgeId) -> EdgeHello {
    EdgeHello {
        edge: edge.clone(),
        build: "test".into(),
        region: region(),
        coordinates: None,
        listeners: Vec::new(),
        relays: Vec::new(),
        capacity: 1,
        feed: None,
        proven: vec![],
        timed: false,
    }
}
