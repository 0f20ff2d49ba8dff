//! What edges relay is counted for sessions, rooms and apps, once, whatever becomes of nodes and uplinks.

use std::time::Duration;

use chappe_proto::registry::Money;
use chappe_tests::client::Client;
use chappe_tests::http;
use chappe_tests::nodes::{Node, three};
use chappe_tests::process::{WITHIN, until};
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};

use crate::edge_join::{Edge, is_up, until_edges};

/// It is said every five seconds; and a node that was killed is noticed first.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// Two people, of whom the first sends to the second over their allocations on one edge.
struct Call {
    turns: [Turn; 2],
    to: std::net::SocketAddr,
    sessions: [String; 2],
    packets: u64,
    bytes: u64,
}

impl Call {
    async fn begin(edge: &Edge, welcomes: [&Value; 2]) -> Self {
        let mut turns = Vec::new();
        let mut sessions = Vec::new();
        for welcome in welcomes {
            let (username, password) = credentials(welcome);
            sessions.push(username.split_once(':').unwrap().1.to_owned());
            turns.push(Turn::new(edge.udp, &(username, password)).await);
        }
        let [mut first, mut second]: [Turn; 2] = turns.try_into().ok().unwrap();
        let mut from = None;
        let allocated = async || {
            from = first.allocate().await.ok();
            from.is_some()
        };
        until("the edge has its secrets", WITHIN, allocated).await;
        let (to, from) = (second.allocate().await.unwrap(), from.unwrap());
        first.permit(to).await.unwrap();
        second.permit(from).await.unwrap();
        let sessions = sessions.try_into().unwrap();
        Self { turns: [first, second], to, sessions, packets: 0, bytes: 0 }
    }

    /// So many packets of so many bytes.
    async fn relay(&mut self, packets: u64, bytes: usize) {
        for _ in 0..packets {
            self.turns[0].send(self.to, &vec![7; bytes]).await;
            let (_, data) = self.turns[1].data(WITHIN).await.expect("what was sent");
            assert_eq!(data.len(), bytes);
        }
        self.packets += packets;
        self.bytes += packets * bytes as u64;
    }

    /// Until a node tells exactly this, of the room as of each session.
    async fn until_told(&self, node: &Node, what: &str) {
        let (some, none) =
            (json!({ "packets": self.packets, "bytes": self.bytes }), json!({ "packets": 0, "bytes": 0 }));
        // All of it over the edge of one region, and by the price of that.
        let line = |name: &str, sent: &Value, received: &Value| {
            let bytes = sent["bytes"].as_u64().unwrap() + received["bytes"].as_u64().unwrap();
            let cost = Money(bytes * 3); // a price of 3000 for 10^9 bytes is 3 millionths for each
            json!({
                "name": name, "sent": sent, "received": received,
                "regions": { "b": bytes }, "cost": cost.to_string(), "unpriced_bytes": 0,
            })
        };
        let mut sessions = vec![line(&self.sessions[0], &some, &none), line(&self.sessions[1], &none, &some)];
        sessions.sort_by_key(|line| line["name"].as_str().map(str::to_owned));
        let mut last = Value::Null;
        let is_told = async || {
            last = tokio::task::block_in_place(|| usage(node, &["default", "room"]));
            // More than was relayed is never told.
            assert!(last["sent"]["bytes"].as_u64() <= Some(self.bytes), "{what}: {last}");
            last["sessions"] == Value::from(sessions.clone())
        };
        until(what, TOLD_WITHIN, is_told).await;
        assert_eq!((&last["sent"], &last["received"]), (&some, &some), "{what}");
        tokio::task::block_in_place(|| {
            let app = usage(node, &["default"]);
            assert_eq!((&app["sent"], &app["received"]), (&some, &some), "{what}");
            assert_eq!(app["rooms"], json!([line("room", &some, &some)]), "{what}");
            assert_eq!(usage(node, &[])["apps"], json!([line("default", &some, &some)]), "{what}");
        });
        for (by, name) in
            [("rooms", "default/room"), ("edges", "edge-b"), ("apps", "default"), ("regions", "b")]
        {
            let costs = api(node, "GET", &format!("/costs?by={by}"), None).await;
            let bytes = 2 * self.bytes;
            let wanted = json!([{
                "name": name, "bytes": bytes, "regions": { "b": bytes },
                "cost": Money(bytes * 3).to_string(), "unpriced_bytes": 0,
            }]);
            assert_eq!((&costs["items"], &costs["currency"]), (&wanted, &json!("EUR")), "{what}");
        }
    }
}

async fn api(node: &Node, method: &str, path: &str, body: Option<&Value>) -> Value {
    let token = std::fs::read_to_string(node.data.join("admin-token")).unwrap();
    let (path, body) = (format!("/admin/api/v1{path}"), body.map(Value::to_string).unwrap_or_default());
    let (status, answer) = http::send(node.http, method, &path, Some(token.trim()), &body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    serde_json::from_str(&answer).unwrap_or_default()
}

fn usage(node: &Node, of: &[&str]) -> Value {
    serde_json::from_str(&node.told(&[&["--json", "usage"], of].concat())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_relayed_is_counted_once_whatever_becomes_of_nodes_and_uplinks() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = tokio::task::block_in_place(|| three(tmp.path()));
    let edge = tokio::task::block_in_place(|| {
        let token = nodes[0].invite(&["--edge", "edge-b", "--region", "b"]);
        Edge::start(&tmp.path().join("edge"), &["--join", &token, "--region", "b"])
    });
    for node in &nodes[1..] {
        until_edges(node, "the edge is heard", |all| all.first().is_some_and(|edge| is_up(edge, "edge-b")))
            .await;
    }
    let prices = json!({ "currency": "EUR", "default": "1", "regions": { "b": "3000" } });
    api(&nodes[0], "PUT", "/costs/prices", Some(&prices)).await;
    // The edge's first uplink is with the node of its region, and so is Ada.
    let mut ada = Client::join(nodes[1].http, json!({ "room": "room", "identity": "ada" })).await;
    let ben = Client::join(nodes[2].http, json!({ "room": "room", "identity": "ben" })).await;
    let mut call = Call::begin(&edge, [&ada.welcome, &ben.welcome]).await;
    call.relay(5, 100).await;
    call.until_told(&nodes[0], "while it lives").await;

    // It relays on while that node dies, with the uplink, and the session moves.
    call.relay(3, 1000).await;
    tokio::task::block_in_place(|| nodes[1].process().kill());
    call.relay(2, 10).await;
    while !matches!(ada.hear().await["type"].as_str(), Some("resumed" | "rebuilt")) {}
    call.relay(1, 1).await;
    call.until_told(&nodes[0], "after a node died").await;
    call.until_told(&nodes[2], "at the other one too").await;

    // The room's view says it of each peer, and people read it.
    tokio::task::block_in_place(|| {
        let told = nodes[0].told(&["usage", "default", "room"]);
        assert!(told.contains(&call.sessions[0]) && told.contains(&call.bytes.to_string()), "{told}");
        assert!(nodes[0].refused(&["usage", "nothing"]).contains("no such app"));
    });
}
