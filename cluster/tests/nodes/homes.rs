//! A room that is homed away from its anchor's shard, on real nodes.

use std::net::SocketAddr;

use chappe_cluster::actor::room::Rehome;
use chappe_cluster::actor::sites::Place;
use chappe_proto::id::Shard;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

struct Client {
    socket: WebSocketStream<TcpStream>,
    peer: Value,
}

impl Client {
    async fn joins(at: SocketAddr, room: &str) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        let (socket, _) = client_async(format!("ws://{at}/v1/signal"), stream).await.unwrap();
        let mut client = Self { socket, peer: Value::Null };
        client.says(json!({"type": "join", "room": room})).await;
        client.peer = client.hears("welcome").await["peer"].clone();
        client
    }

    async fn says(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame of a type, passing over others.
    async fn hears(&mut self, kind: &str) -> Value {
        loop {
            let frame = tokio::time::timeout(SOON, self.socket.next()).await.unwrap().unwrap().unwrap();
            let Message::Text(text) = frame else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            assert_ne!(frame["type"], "closed", "{frame}");
            if frame["type"] == kind {
                return frame;
            }
        }
    }
}

/// A signal each way, acknowledged.
async fn exchange(one: &mut Client, other: &mut Client, id: u64) {
    for _ in 0..2 {
        one.says(json!({"type": "signal", "to": other.peer, "id": id, "kind": "x", "payload": id})).await;
        let heard = other.hears("signal").await;
        assert_eq!((&heard["from"], &heard["id"]), (&one.peer, &json!(id)));
        other.says(json!({"type": "ack", "from": one.peer, "id": id})).await;
        assert_eq!(one.hears("delivered").await["id"], id);
        std::mem::swap(one, other);
    }
}

/// Where the node runs the room, that is where somebody is in it.
fn runs(node: &Running, room: &RoomKey) -> Vec<Place> {
    node.node.rooms.of(room).into_iter().map(|(place, _)| place).collect()
}

/// The node moves the room from one shard to another.
async fn rehome(node: &Running, room: &RoomKey, from: Shard, to: Shard) {
    let moves = async {
        loop {
            let epoch = node.node.registry.state().shard(from).unwrap().epoch;
            let site = node.node.rooms.get(room, (from, epoch)).unwrap();
            if site.send(Rehome(to)).await.unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // it has just come, and asks for its leave
        }
    };
    tokio::time::timeout(SOON, moves).await.unwrap();
}

#[actix_rt::test]
async fn a_room_moves_with_its_people_and_outlives_its_home_and_its_anchor() {
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = found(dirs[0].path()).await;
    let app = add_app(&first, "default", AppPolicy { anonymous: true, ..AppPolicy::default() }).await;
    let mut nodes = vec![first];
    for dir in &dirs[1..] {
        let token = invite(&nodes[0]).await;
        nodes.push(joined(dir.path(), token).await);
    }
    for node in &nodes {
        until(node, |state| (1..=4).all(|node| owned(state, node) == 1024)).await;
    }
    // The room's anchor is the third node's, its home will be the fourth's; its people are with the others.
    let state = nodes[0].node.registry.state();
    let name = |n: u32| RoomKey { app: app.clone(), room: RoomName::new(&format!("r{n}")).unwrap() };
    let owner = |shard: Shard| state.shard(shard).unwrap().owner.unwrap().0;
    let room = (0..).map(name).find(|room| owner(room.anchor()) == 3).unwrap();
    let (anchor, text) = (room.anchor(), room.room.to_string());
    let home = (0..).map(Shard).find(|shard| owner(*shard) == 4).unwrap();

    let mut ada = Client::joins(nodes[0].http[0], &text).await;
    let mut ben = Client::joins(nodes[1].http[0], &text).await;
    exchange(&mut ada, &mut ben, 1).await;
    rehome(&nodes[2], &room, anchor, home).await;
    exchange(&mut ada, &mut ben, 2).await;
    becomes(|| runs(&nodes[3], &room).len() == 1).await;

    // Who asks the anchor to remove somebody, and is late, is not told that there is no such peer.
    let former = nodes[2].node.rooms.get(&room, nodes[2].node.anchor(&room)).unwrap();
    let peer = ada.peer.as_str().unwrap().parse().unwrap();
    assert_eq!(former.send(Remove { peer, ban: false }).await.unwrap(), Kicked::Unavailable);

    // A newcomer asks at the anchor, and is in the same room; on the home's own node too.
    let mut cleo = Client::joins(nodes[0].http[0], &text).await;
    exchange(&mut cleo, &mut ben, 1).await;
    let mut dora = Client::joins(nodes[3].http[0], &text).await;
    exchange(&mut dora, &mut ada, 1).await;
    drop(dora);

    // The anchor's node goes: its next owner hears where the room is before it lets anybody in.
    nodes.remove(2).stop().await;
    exchange(&mut ada, &mut ben, 3).await;
    let mut emil = Client::joins(nodes[1].http[0], &text).await;
    exchange(&mut emil, &mut ada, 1).await;
    let homed = |state: &State| state.shard(home).unwrap().owner == Some(NodeId(4));
    assert!(homed(&nodes[0].node.registry.state()));
    assert_eq!(runs(&nodes[2], &room).into_iter().filter(|place| place.0 == home).count(), 1);

    // The home's node goes: its shard's next owner runs the room.
    nodes.remove(2).stop().await;
    exchange(&mut ada, &mut ben, 4).await;
    let mut finn = Client::joins(nodes[0].http[0], &text).await;
    exchange(&mut finn, &mut ben, 1).await;

    // And back to the anchor.
    let state = nodes[0].node.registry.state();
    let at = |shard| state.shard(shard).unwrap().owner.unwrap();
    let owner = nodes.iter().find(|node| node.node.id == at(home)).unwrap();
    rehome(owner, &room, home, anchor).await;
    exchange(&mut ada, &mut ben, 5).await;
    let mut gwen = Client::joins(nodes[1].http[0], &text).await;
    exchange(&mut gwen, &mut finn, 1).await;
    let owner = nodes.iter().find(|node| node.node.id == at(anchor)).unwrap();
    becomes(|| runs(owner, &room).into_iter().any(|place| place.0 == anchor)).await;
    for node in nodes {
        node.stop().await;
    }
}
