//! Who gets no link, and that everybody learns why.

use std::net::SocketAddr;

use chappe_cluster::clock;
use chappe_cluster::mesh::pki::{Authority, Holder};
use chappe_cluster::mesh::{Config, Credentials, Mesh, Refusal};
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::mesh::node::Loss;
use chappe_proto::registry::{Command, State};

use crate::common::{Heard, Peer, apply, authority, config, nodes, registry, socket};

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

/// A node tells those that it knows what its disk has lost: who has heard it.
async fn tell(
    authority: &Authority,
    node: NodeId,
    known: &[(NodeId, SocketAddr)],
    loss: Loss,
) -> Vec<NodeId> {
    let issued = authority.issue(&Holder::Node(node), clock::unix()).unwrap();
    let peers = known.iter().map(|(node, address)| (*node, vec![*address])).collect();
    let mesh = Mesh::bind(Config { peers, ..config(issued.into(), node, socket().0) }).unwrap();
    let mut told = mesh.tell_loss(loss).await;
    mesh.stop().await;
    told.sort();
    told
}

/// The next refusal of the node that has forgotten something.
async fn forgets(peer: &mut Peer, node: NodeId) -> Loss {
    peer.hear("what it has lost", |heard| match heard {
        Heard::Incident(incident) => match incident.refusal {
            Refusal::Forgetful(loss) => {
                assert_eq!((incident.node, incident.ours), (Some(node), true));
                Some(loss)
            }
            other => panic!("{other}"),
        },
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_forgot_tells_the_others_and_disturbs_nobody() {
    let authority = authority();
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..3).map(|_| socket()).unzip();
    let state = registry(&addresses);
    let mut sockets = sockets.into_iter();
    let mut one = Peer::start(&authority, NodeId(1), sockets.next().unwrap(), &state);
    let _silent = sockets.next(); // nobody else gets that address meanwhile
    let mut three = Peer::start(&authority, NodeId(3), sockets.next().unwrap(), &state);
    one.linked(3).await;
    three.linked(1).await;
    let since = |peer: &Peer, other| peer.mesh.links().borrow().since(NodeId(other));
    let before = (since(&one, 3), since(&three, 1));

    let loss = Loss { found: Some(3), pledged: Some(5) };
    let more = Loss { found: Some(3), pledged: Some(6) };
    let known: Vec<_> = (1..).map(NodeId).zip(addresses).collect();
    // A process that is started again and again says it each time.
    for loss in [loss, loss, more] {
        assert_eq!(tell(&authority, NodeId(2), &known, loss).await, [NodeId(1), NodeId(3)]);
    }
    for peer in [&mut one, &mut three] {
        assert_eq!(forgets(peer, NodeId(2)).await, loss);
        assert_eq!(forgets(peer, NodeId(2)).await, more, "and is told of once");
        assert!(!peer.mesh.links().borrow().reaches(NodeId(2)), "it gets no link");
    }
    assert_eq!((since(&one, 3), since(&three, 1)), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_removed_node_says_of_its_disk_is_not_told() {
    let authority = authority();
    let (here, at) = socket();
    // Nothing answers there.
    let (_dead, nowhere) = socket();
    let mut state = registry(&[at, nowhere]);
    let generation = state.node(NodeId(2)).unwrap().generation;
    apply(&mut state, Command::NodeDown { node: NodeId(2), generation, moves: vec![] });
    apply(&mut state, Command::NodeRemove { node: NodeId(2) });
    let mut one = Peer::start(&authority, NodeId(1), here, &state);
    let (first, second) = ((NodeId(1), at), (NodeId(2), nowhere));
    assert_eq!(tell(&authority, NodeId(2), &[first, second], Loss::default()).await, []);
    one.refuses(&Refusal::Removed { node: NodeId(2) }).await;
    // Nor does one that is not there keep the others from being told.
    assert_eq!(tell(&authority, NodeId(3), &[first, second], Loss::default()).await, [NodeId(1)]);
    assert_eq!(forgets(&mut one, NodeId(3)).await, Loss::default());
}
