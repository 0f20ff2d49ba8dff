//! Links come up, carry, and come back.

use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::consensus::{Message, Transport};
use chappe_cluster::mesh::RequestError;
use chappe_proto::id::{Generation, Index, NodeId};
use chappe_proto::mesh::node::{Answer, Ask, Body, Feed, Lane};
use raft::eraftpb::MessageType;

use crate::common::{Heard, Peer, SOON, add, authority, nodes, registry, socket};

fn renew(n: u64) -> Body {
    Body::Renew { generation: Generation(1), n }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_link_and_speak() {
    let mut peers = nodes(&authority(), 3).await;
    let [one, two, three] = &mut peers[..] else { panic!() };
    for lane in [Lane::Control, Lane::Rooms(0), Lane::Rooms(15)] {
        for n in 1..=100 {
            one.mesh.send(NodeId(2), lane, renew(n)).unwrap();
            three.mesh.send(NodeId(1), lane, renew(n)).unwrap();
        }
        for n in 1..=100 {
            assert_eq!(two.body().await, (NodeId(1), renew(n)));
            assert_eq!(one.body().await, (NodeId(3), renew(n)));
        }
    }
    let answer = three.mesh.request(NodeId(2), Ask::Read, SOON).await;
    assert_eq!(answer, Ok(Answer::Read { index: Index(2) }));
    let own = three.mesh.request(NodeId(3), Ask::Read, SOON).await;
    assert_eq!(own, Ok(Answer::Read { index: Index(3) }));
    let never = three.mesh.request(NodeId(2), Ask::Status, Duration::from_millis(50)).await;
    assert_eq!(never, Err(RequestError::TimedOut(NodeId(2))));
    assert!(three.mesh.send(NodeId(9), Lane::Control, renew(1)).is_err());
}

/// How long a frame takes there and back: printed, and bounded generously, since machines differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_is_there_in_well_under_a_millisecond() {
    let mut peers = nodes(&authority(), 2).await;
    let [one, two] = &mut peers[..] else { panic!() };
    let mut took = Vec::new();
    for n in 1..=500 {
        let begun = clock::mono();
        one.mesh.send(NodeId(2), Lane::Rooms(3), renew(n)).unwrap();
        two.body().await;
        two.mesh.send(NodeId(1), Lane::Rooms(3), renew(n)).unwrap();
        one.body().await;
        took.push(clock::mono().since(begun) / 2);
    }
    took.sort_unstable();
    println!("one way: p50 {:?}, p99 {:?}", took[250], took[495]);
    assert!(took[250] < Duration::from_millis(2), "{:?}", took[250]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_begins_anew_is_linked_at_once_whoever_has_the_lower_id() {
    let authority = authority();
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..2).map(|_| socket()).unzip();
    let state = registry(&addresses);
    let clones: Vec<_> = sockets.iter().map(|socket| socket.try_clone().unwrap()).collect();
    let mut peers: Vec<_> = (1..)
        .zip(clones)
        .map(|(n, socket)| Some(Peer::start(&authority, NodeId(n), socket, &state)))
        .collect();
    for (dies, stays) in [(1, 0), (0, 1), (1, 0)] {
        let (gone, other) = (dies as u64 + 1, stays as u64 + 1);
        peers[stays].as_ref().unwrap().linked(gone).await;
        let old = peers[dies].take().unwrap();
        old.linked(other).await;
        drop(old);
        let begun = clock::mono();
        let fresh = Peer::start(&authority, NodeId(gone), sockets[dies].try_clone().unwrap(), &state);
        fresh.linked(other).await;
        println!("linked again after {:?}", clock::mono().since(begun));
        assert!(clock::mono().since(begun) < Duration::from_millis(300), "{:?}", clock::mono().since(begun));
        peers[dies] = Some(fresh);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_which_the_registry_says_more_later_is_linked_then() {
    let authority = authority();
    let (first, at) = socket();
    let mut state = registry(&[at]);
    let one = Peer::start(&authority, NodeId(1), first, &state);
    let (second, address) = socket();
    add(&mut state, NodeId(2), address);
    let two = Peer::start(&authority, NodeId(2), second, &state);
    // It is a newcomer to the first, which has not heard of it: it knocks in vain.
    one.states.send_replace(state.clone().into());
    one.linked(2).await;
    two.linked(1).await;
    two.mesh.stop().await;
    one.unlinked(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_has_a_lane_and_each_snapshot_a_stream() {
    let mut peers = nodes(&authority(), 2).await;
    let [one, two] = &mut peers[..] else { panic!() };
    let message = |kind| {
        let mut message = Message { from: 1, to: 2, term: 3, ..Message::default() };
        message.set_msg_type(kind);
        message
    };
    let mut snapshot = message(MessageType::MsgSnapshot);
    snapshot.mut_snapshot().data = vec![7; 20_000_000].into();
    snapshot.mut_snapshot().mut_metadata().index = 9;
    let mut raft = one.mesh.raft();
    raft.send(snapshot.clone()).unwrap();
    raft.send(message(MessageType::MsgHeartbeat)).unwrap();
    let raft_of = |heard| match heard {
        Heard::Raft(from, message) => Some((from, message)),
        _ => None,
    };
    let (from, first) = two.hear("a heartbeat", raft_of).await;
    assert_eq!((from, *first), (NodeId(1), message(MessageType::MsgHeartbeat)), "it does not wait");
    let (_, second) = two.hear("a snapshot", raft_of).await;
    assert!(*second == snapshot, "the snapshot as it was");
    let sent = one.hear("that it is there", |heard| match heard {
        Heard::SnapshotSent(to, arrived) => Some((to, arrived)),
        _ => None,
    });
    assert_eq!(sent.await, (NodeId(2), true));
    let mut astray = message(MessageType::MsgHeartbeat);
    astray.to = 5;
    assert!(raft.send(astray).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_as_fast_as_its_follower() {
    let peers = nodes(&authority(), 2).await;
    let mut feed = peers[1].mesh.follow(NodeId(1), Index(40)).await.unwrap();
    for n in 41..=100 {
        let next = tokio::time::timeout(SOON, feed.next()).await.unwrap().unwrap();
        assert!(matches!(next, Feed::Entry { index: Index(at), .. } if at == n), "{n}");
    }
    drop(feed);
    // A feed that nobody reads blocks nothing else, and a new one begins.
    let _unread = peers[1].mesh.follow(NodeId(1), Index(0)).await.unwrap();
    let answer = peers[1].mesh.request(NodeId(1), Ask::Read, SOON).await;
    assert_eq!(answer, Ok(Answer::Read { index: Index(1) }));
    let mut again = peers[1].mesh.follow(NodeId(1), Index(5)).await.unwrap();
    let next = tokio::time::timeout(SOON, again.next()).await.unwrap().unwrap();
    assert!(matches!(next, Feed::Entry { index: Index(6), .. }));
}
