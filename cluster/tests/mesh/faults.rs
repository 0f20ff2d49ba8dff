//! Links that are cut, and the way around them.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::consensus::{Message, Transport};
use chappe_cluster::mesh::{RequestError, Unsent};
use chappe_proto::id::{Generation, Index, NodeId};
use chappe_proto::mesh::node::{Answer, Ask, Body, Lane};
use raft::eraftpb::MessageType;

use crate::common::{Heard, Peer, SOON, authority, registry, socket};
use crate::wire::Wire;

fn renew(n: u64) -> Body {
    Body::Renew { generation: Generation(1), n }
}

/// Nodes 1, 2, ... of which the first and the last reach each other by wires that can be cut.
async fn wired(n: usize) -> (Vec<Peer>, [Wire; 2]) {
    let authority = authority();
    let (sockets, at): (Vec<UdpSocket>, Vec<SocketAddr>) = (0..n).map(|_| socket()).unzip();
    let wires = [Wire::to(at[0]).await, Wire::to(at[n - 1]).await];
    let mut peers = Vec::new();
    for (node, socket) in (1..).zip(sockets) {
        let mut seen = at.clone();
        if node == 1 {
            seen[n - 1] = wires[1].address;
        } else if node == n {
            seen[0] = wires[0].address;
        }
        let id = NodeId(u64::try_from(node).unwrap());
        peers.push(Peer::start(&authority, id, socket, &registry(&seen)));
    }
    for peer in &peers {
        for other in (1..=n as u64).filter(|other| NodeId(*other) != peer.node) {
            peer.linked(other).await;
        }
    }
    (peers, wires)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_noticed_and_its_end_too() {
    let (peers, wires) = wired(2).await;
    for _ in 0..2 {
        let begun = clock::mono();
        wires.iter().for_each(|wire| wire.cut(true));
        peers[0].unlinked(2).await;
        peers[1].unlinked(1).await;
        let noticed = clock::mono().since(begun);
        assert_eq!(peers[0].mesh.send(NodeId(2), Lane::Control, renew(1)), Err(Unsent::NoWay(NodeId(2))));
        let begun = clock::mono();
        wires.iter().for_each(|wire| wire.cut(false));
        peers[0].linked(2).await;
        peers[1].linked(1).await;
        let healed = clock::mono().since(begun);
        println!("noticed after {noticed:?}, linked again after {healed:?}");
        assert!(noticed < Duration::from_millis(1800), "{noticed:?}");
        assert!(healed < Duration::from_millis(1000), "{healed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_link_goes_through_a_node_that_has_one() {
    let (mut peers, wires) = wired(3).await;
    wires.iter().for_each(|wire| wire.cut(true));
    for (peer, other) in [(0, 3), (2, 1)] {
        let through = |links: &chappe_cluster::mesh::Links| links.through(NodeId(other)) == Some(NodeId(2));
        peers[peer].until("reached by one hop", through).await;
    }
    let [one, two, three] = &mut peers[..] else { panic!() };
    for n in 1..=50 {
        one.mesh.send(NodeId(3), Lane::Rooms(4), renew(n)).unwrap();
        assert_eq!(three.body().await, (NodeId(1), renew(n)), "as if it came directly");
    }
    let answer = three.mesh.request(NodeId(1), Ask::Read, SOON).await;
    assert_eq!(answer, Ok(Answer::Read { index: Index(1) }));
    let mut message = Message { from: 1, to: 3, term: 3, ..Message::default() };
    message.set_msg_type(MessageType::MsgHeartbeat);
    one.mesh.raft().send(message.clone()).unwrap();
    let raft = |heard| match heard {
        Heard::Raft(from, message) => Some((from, message)),
        _ => None,
    };
    assert_eq!(three.hear("a heartbeat", raft).await, (NodeId(1), Box::new(message.clone())));
    let mut snapshot = message.clone();
    snapshot.set_msg_type(MessageType::MsgSnapshot);
    snapshot.mut_snapshot().data = vec![7; 5_000_000].into();
    one.mesh.raft().send(snapshot.clone()).unwrap();
    let (from, came) = three.hear("a snapshot", raft).await;
    assert!(from == NodeId(1) && *came == snapshot, "the snapshot as it was");
    // Nothing of it was for the one in between.
    assert!(two.heard.try_recv().is_err());

    // A question that waits is told at once when the last way is lost.
    let (mesh, begun) = (one.mesh.clone(), clock::mono());
    let asked = tokio::spawn(async move { mesh.request(NodeId(3), Ask::Status, SOON).await });
    let came = |heard| matches!(heard, Heard::Asked(NodeId(1))).then_some(());
    three.hear("a question", came).await;
    two.mesh.stop().await;
    assert_eq!(asked.await.unwrap(), Err(RequestError::Lost(NodeId(3))));
    assert!(clock::mono().since(begun) < SOON);
    assert_eq!(one.mesh.send(NodeId(3), Lane::Control, renew(1)), Err(Unsent::NoWay(NodeId(3))));
    // Healed, the direct way is the way.
    wires.iter().for_each(|wire| wire.cut(false));
    one.linked(3).await;
    three.linked(1).await;
    one.mesh.send(NodeId(3), Lane::Control, renew(7)).unwrap();
    assert_eq!(three.body().await, (NodeId(1), renew(7)));
}
