//! Whoever is sent away is gone from the room, from its relays, and stays away.

use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::http;
use chappe_tests::process::Chappe;
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// A kicked session's relays are dead within this.
const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// A session with an allocation through which data flows.
struct Relayed {
    turn: Turn,
    peer: UdpSocket,
    relayed: std::net::SocketAddr,
    credentials: (String, String),
}

impl Relayed {
    async fn of(node: &Chappe, welcome: &Value) -> Self {
        let credentials = credentials(welcome);
        let mut turn = Turn::new(node.turn_udp, &credentials).await;
        let relayed = turn.allocate().await.unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        turn.permit(peer.local_addr().unwrap()).await.unwrap();
        let mut this = Self { turn, peer, relayed, credentials };
        assert!(this.flows(Duration::from_secs(5)).await, "nothing is relayed at all");
        this
    }

    /// Whether data of the peer arrives within a time.
    async fn flows(&mut self, within: Duration) -> bool {
        self.peer.send_to(b"media", self.relayed).await.unwrap();
        self.turn.data(within).await.is_some_and(|(_, data)| data == b"media")
    }

    /// Waits for the end: data stops, then everything is refused, old credentials too.
    async fn ends(&mut self, node: &Chappe, begin: Instant) {
        while self.flows(Duration::from_millis(50)).await {
            assert!(begin.elapsed() < DEAD_WITHIN, "still relayed after {:?}", begin.elapsed());
        }
        assert!(self.turn.refresh().await.is_err(), "the allocation is still there");
        assert!(begin.elapsed() < DEAD_WITHIN, "dead after {:?}", begin.elapsed());
        assert!(!self.flows(Duration::from_millis(50)).await);
        let again = Turn::new(node.turn_udp, &self.credentials).await.allocate().await;
        assert!(again.is_err(), "the credentials still allocate");
    }
}

async fn joined(node: &Chappe, options: &[&str]) -> (ByHand, Value) {
    let mut socket = ByHand::open(node.http).await;
    let welcome = socket.join(json!({ "room": "room", "token": node.token("room", options) })).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (socket, welcome)
}

const PLAIN: [&str; 4] = ["--grant", "join", "--grant", "create"];
const ADMIN: [&str; 6] = ["--grant", "join", "--grant", "create", "--grant", "admin"];

async fn revoked(node: &Chappe, welcome: &Value) {
    let mut socket = ByHand::open(node.http).await;
    let gone = socket.join(json!({ "room": "room", "resume": welcome["resume"], "marks": {} })).await;
    assert_eq!(gone, json!({ "type": "gone", "reason": "revoked" }));
}

#[tokio::test]
async fn a_kick_by_an_admin_ends_session_and_relays() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (mut ada, _) = joined(&node, &[&["--identity", "ada"], &ADMIN[..]].concat()).await;
    let (mut ben, welcome) = joined(&node, &[&["--identity", "ben"], &PLAIN[..]].concat()).await;
    let mut relay = Relayed::of(&node, &welcome).await;
    // Who may not kick changes nothing.
    ben.say(json!({ "type": "kick", "peer": welcome["peer"] })).await;
    assert_eq!(ben.hear_a("error").await["code"], "forbidden");
    assert!(relay.flows(Duration::from_secs(5)).await);

    let begin = Instant::now();
    ada.say(json!({ "type": "kick", "peer": welcome["peer"] })).await;
    let left = ada.hear_a("peer_left").await;
    assert_eq!((&left["peer"], &left["reason"]), (&welcome["peer"], &json!("kicked")));
    relay.ends(&node, begin).await;
    let closed = ben.hear_a("closed").await;
    assert_eq!((&closed["code"], &closed["resume"]), (&json!("kicked"), &json!(false)));
    assert_eq!(ben.hear().await["code"], 4011);
    revoked(&node, &welcome).await;
}

#[tokio::test]
async fn a_kick_by_an_operator_does_too_and_a_ban_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let (mut ada, _) = joined(&node, &PLAIN).await;
    let options = [&["--identity", "ben"], &PLAIN[..]].concat();
    let (mut ben, welcome) = joined(&node, &options).await;
    let mut relay = Relayed::of(&node, &welcome).await;
    let peer = welcome["peer"].as_str().unwrap();
    let path = format!("/admin/api/v1/apps/dev/rooms/room/peers/{peer}?ban=true");
    let begin = Instant::now();
    let (status, body) = http::request(node.http, "DELETE", &path, Some(&node.admin_token())).await;
    assert_eq!(status, 204, "{body}");
    relay.ends(&node, begin).await;
    assert_eq!(ben.hear_a("closed").await["code"], "banned");
    assert_eq!(ada.hear_a("peer_left").await["reason"], "banned");
    revoked(&node, &welcome).await;
    // It is in the registry: a restart does not let it in, nor give its credentials back.
    node.kill_and_restart();
    revoked(&node, &welcome).await;
    let mut again = ByHand::open(node.http).await;
    let token = node.token("room", &options);
    assert_eq!(again.join(json!({ "room": "room", "token": token })).await["code"], "banned");
    let old = Turn::new(node.turn_udp, &credentials(&welcome)).await.allocate().await;
    assert!(old.is_err(), "the credentials allocate after a restart");
}

#[tokio::test]
async fn leaving_ends_the_relays_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (mut ada, welcome) = joined(&node, &PLAIN).await;
    let (mut ben, bens) = joined(&node, &PLAIN).await;
    let (mut relay, mut other) = (Relayed::of(&node, &welcome).await, Relayed::of(&node, &bens).await);
    let begin = Instant::now();
    ada.say(json!({ "type": "leave" })).await;
    assert_eq!(ada.hear_a("closed").await["code"], "left");
    while relay.flows(Duration::from_millis(50)).await {
        assert!(begin.elapsed() < DEAD_WITHIN, "still relayed after {:?}", begin.elapsed());
    }
    assert!(relay.turn.refresh().await.is_err());
    assert_eq!(ben.hear_a("peer_left").await["reason"], "left");
    assert!(other.flows(Duration::from_secs(5)).await, "another's relay went with it");
}

#[tokio::test]
async fn losing_the_socket_keeps_the_relays() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (ada, welcome) = joined(&node, &PLAIN).await;
    let (mut ben, _) = joined(&node, &PLAIN).await;
    let mut relay = Relayed::of(&node, &welcome).await;
    drop(ada);
    assert_eq!(ben.hear_a("peer_updated").await["change"], "away");
    assert!(relay.flows(Duration::from_secs(5)).await, "a signaling outage hung up media");
    relay.turn.refresh().await.unwrap();
}
