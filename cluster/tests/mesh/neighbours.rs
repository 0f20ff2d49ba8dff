//! Neighbours of another release, and neighbours that are too much.

use chappe_cluster::mesh::frame;
use chappe_cluster::mesh::pki::Authority;
use chappe_cluster::mesh::{Refusal, Unsent};
use chappe_proto::id::{Generation, NodeId, SessionId};
use chappe_proto::limits::LANE_BYTES;
use chappe_proto::mesh::node::{Answer, Body, EdgeReport, Failure, Hello, Lane, Opening, Parcel, WIRE};
use quinn::ConnectionError;
use serde_json::json;

use crate::common::{Peer, SOON, authority, registry, socket};
use crate::raw::{Raw, hello, write, write_bytes};

fn renew(n: u64) -> Body {
    Body::Renew { generation: Generation(1), n }
}

/// Node 2, to which node 1 connects.
fn two(authority: &Authority) -> (Peer, std::net::SocketAddr) {
    let (socket, address) = socket();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    (Peer::start(authority, NodeId(2), socket, &registry(&[nowhere, address])), address)
}

/// Waits until so many frames were skipped.
async fn skips(peer: &Peer, n: u64) {
    let skipped = async {
        while peer.mesh.skipped() < n {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(SOON, skipped).await.is_ok(), "{} skipped", peer.mesh.skipped());
    assert_eq!(peer.mesh.skipped(), n);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_release_says_is_skipped_and_the_link_stays() {
    let authority = authority();
    let (mut two, address) = two(&authority);
    let newer = Hello { wire: WIRE + 1, speaks: 9, ..hello(NodeId(1)) };
    let mut one = Raw::dial(&authority, newer, NodeId(2), address).await.unwrap();
    two.linked(1).await;
    let _: Opening = frame::read(&mut one.theirs).await.unwrap();
    let since = two.mesh.links().borrow().since(NodeId(1));

    // A body, a form of a body and a lane that it does not know; and noise.
    write(&mut one.control, &json!({"from": 1, "to": 2, "body": {"telepathy": {"n": 1}}})).await;
    write(&mut one.control, &json!({"from": 1, "to": 2, "body": "hum"})).await;
    write_bytes(&mut one.control, &[0xc1; 7]).await;
    let mut lane = one.connection.open_uni().await.unwrap();
    write(&mut lane, &json!({"lane": "quantum", "hello": serde_json::to_value(hello(NodeId(1))).unwrap()}))
        .await;
    skips(&two, 4).await;
    // One with a field more is read.
    let body = json!({"renew": {"generation": 1, "n": 2, "mood": "fine"}});
    write(&mut one.control, &json!({"from": 1, "to": 2, "body": body, "colour": 3})).await;
    assert_eq!(two.body().await, (NodeId(1), renew(2)));
    // A question that it does not know is answered all the same.
    let body = json!({"request": {"id": 77, "ask": {"fortune": {}}}});
    write(&mut one.control, &json!({"from": 1, "to": 2, "body": body})).await;
    let answer = tokio::time::timeout(SOON, async {
        loop {
            let parcel: Parcel = frame::read(&mut one.theirs).await.unwrap();
            if let Body::Answer { id: 77, answer } = parcel.body {
                return answer;
            }
        }
    });
    assert!(matches!(answer.await.unwrap(), Answer::Failed(Failure::Other(why)) if why.contains("upgrade")));
    assert_eq!(two.mesh.links().borrow().since(NodeId(1)), since);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_too_new_is_refused() {
    let authority = authority();
    let (mut two, address) = two(&authority);
    let newer = Hello { wire: WIRE + 2, oldest: WIRE + 1, ..hello(NodeId(1)) };
    let refused = Raw::dial(&authority, newer, NodeId(2), address).await.err();
    let refusal = Refusal::TooNew { build: "9.9.9".into(), oldest: WIRE + 1 };
    let Some(ConnectionError::ApplicationClosed(close)) = refused else { panic!("{refused:?}") };
    assert_eq!(close.reason, refusal.to_string(), "told in words");
    two.refuses(&refusal).await;
    assert!(two.mesh.links().borrow().nodes().is_empty());
}

/// What is for another node is passed on for its sender alone, and to who has a link alone: so nothing goes
/// round in circles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_passed_on_twice() {
    let authority = authority();
    let (mut two, address) = two(&authority);
    let mut one = Raw::dial(&authority, hello(NodeId(1)), NodeId(2), address).await.unwrap();
    two.linked(1).await;
    let parcel = |from, to, n| Parcel { from: NodeId(from), to: NodeId(to), body: renew(n) };
    write(&mut one.control, &parcel(1, 7, 1)).await; // no link with 7
    write(&mut one.control, &parcel(8, 7, 2)).await; // not the sender's own
    write(&mut one.control, &parcel(8, 1, 3)).await; // back to where it comes from
    write(&mut one.control, &json!({"from": 8, "to": 1, "body": "hum"})).await;
    skips(&two, 4).await;
    // What has come by one hop is for it.
    write(&mut one.control, &parcel(8, 2, 4)).await;
    assert_eq!(two.body().await, (NodeId(8), renew(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_reads_nothing_takes_a_bounded_queue_and_blocks_no_other_lane() {
    let authority = authority();
    let (two, address) = two(&authority);
    let mut one = Raw::dial(&authority, hello(NodeId(1)), NodeId(2), address).await.unwrap();
    two.linked(1).await;
    let body = Body::Edges(Vec::<EdgeReport>::new());
    assert!(two.mesh.send(NodeId(1), Lane::Rooms(0), body).is_ok());
    // 64 KiB each; nobody accepts the stream.
    let reaches = Body::Reaches(vec![NodeId(u64::MAX); 65_536 / 9]);
    let len = chappe_proto::wire::encode(&reaches).unwrap().len();
    let mut taken = 0;
    let full = loop {
        match two.mesh.send(NodeId(1), Lane::Rooms(0), reaches.clone()) {
            Ok(()) => taken += len,
            Err(unsent) => break unsent,
        }
        assert!(taken < 2 * LANE_BYTES, "no bound");
        tokio::task::yield_now().await;
    };
    assert_eq!(full, Unsent::Full(NodeId(1)));
    // And what QUIC lets under way: here the other side's own limit, 1.25 MB.
    assert!(taken <= LANE_BYTES + 1_250_000 + 2 * len, "{taken}");
    let session = SessionId::from_random([1; 15]);
    two.mesh.send(NodeId(1), Lane::Control, Body::End { session }).unwrap();
    let ended = async {
        let _: Opening = frame::read(&mut one.theirs).await.unwrap();
        while frame::read::<Parcel>(&mut one.theirs).await.unwrap().body != (Body::End { session }) {}
    };
    assert!(tokio::time::timeout(SOON, ended).await.is_ok(), "the control lane is blocked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_without_end_ends_the_link() {
    let authority = authority();
    let (two, address) = two(&authority);
    for lane in [Lane::Rooms(1), Lane::Raft, Lane::Snapshot] {
        let one = Raw::dial(&authority, hello(NodeId(1)), NodeId(2), address).await.unwrap();
        two.linked(1).await;
        let mut stream = one.open(lane).await;
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        two.unlinked(1).await;
    }
}
