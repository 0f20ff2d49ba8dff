//! What the registry keeps: a restart and a `kill -9` change nothing for anybody.

use chappe_tests::client::{ByHand, Client};
use chappe_tests::http;
use chappe_tests::process::Chappe;
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};

async fn overview(node: &Chappe) -> Value {
    let (status, body) =
        http::request(node.http, "GET", "/admin/api/v1/overview", Some(&node.admin_token())).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Something made before a restart is good after it.
struct Before {
    key: String,
    secret: String,
    admin: String,
    token: String,
    turn: (String, String),
    peer: Value,
    resume: Value,
    applied: u64,
}

impl Before {
    async fn of(node: &Chappe) -> Self {
        let token = node.token("room", &["--identity", "ada"]);
        let mut ada = ByHand::open(node.http).await;
        let welcome = ada.join(json!({ "room": "room", "token": token })).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Self {
            key: node.api_key().key,
            secret: node.api_key().secret,
            admin: node.admin_token(),
            token,
            turn: credentials(&welcome),
            peer: welcome["peer"].clone(),
            resume: welcome["resume"].clone(),
            applied: overview(node).await["registry"]["applied"].as_u64().unwrap(),
        }
    }

    async fn still_holds(&self, node: &Chappe) {
        let key = node.api_key();
        assert_eq!((&key.key, &key.secret, &node.admin_token()), (&self.key, &self.secret, &self.admin));
        let after = overview(node).await;
        assert!(after["registry"]["applied"].as_u64().unwrap() > self.applied, "{after}");
        assert_eq!(after["edges"][0]["edge"], "dev-edge");
        assert_eq!(after["edges"][0]["alive"], true);
        // The TURN secret: a credential that was handed out before allocates.
        let mut turn = Turn::new(node.turn_udp, &self.turn).await;
        turn.allocate().await.unwrap();
        // The sealing key: the session comes back as who it was.
        let mut ada = ByHand::open(node.http).await;
        let join = json!({ "room": "room", "resume": self.resume, "marks": {} });
        let rebuilt = ada.join(join).await;
        assert_eq!((&rebuilt["type"], &rebuilt["peer"]), (&json!("rebuilt"), &self.peer), "{rebuilt}");
        assert_eq!(rebuilt["identity"], "ada");
        // The API key: its token opens the room, and the newest of an identity stays.
        let mut again = ByHand::open(node.http).await;
        let welcome = again.join(json!({ "room": "room", "token": self.token })).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        assert_eq!(ada.hear_a("closed").await["code"], "replaced");
    }
}

#[tokio::test]
async fn a_restart_changes_nothing_for_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let before = Before::of(&node).await;
    node.restart();
    before.still_holds(&node).await;
}

#[tokio::test]
async fn nor_does_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let before = Before::of(&node).await;
    node.kill_and_restart();
    before.still_holds(&node).await;
    // And again: what the second process wrote is there for the third.
    let before = Before::of(&node).await;
    node.kill_and_restart();
    before.still_holds(&node).await;
}

#[tokio::test]
async fn each_start_is_a_generation_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (_socket, welcome) = ByHand::joined(node.http, "room").await;
        peers.push(welcome["peer"].as_str().unwrap().to_owned());
        node.kill_and_restart();
    }
    peers.sort_unstable();
    peers.dedup();
    assert_eq!(peers.len(), 3, "a peer id was used again");
}

/// Three kills while signals go both ways all the time: each arrives once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn signals_survive_kill_9_once_and_in_order() {
    const COUNT: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let mut ada = Client::join(node.http, json!({ "room": "room", "identity": "ada" })).await;
    let mut ben = Client::join(node.http, json!({ "room": "room", "identity": "ben" })).await;
    let peers = (ada.peer.clone(), ben.peer.clone());
    for n in 0..COUNT {
        ada.signal(&peers.1, n).await;
        ben.signal(&peers.0, n).await;
    }
    let quarter = usize::try_from(COUNT / 4).unwrap();
    let mut got = (Vec::new(), Vec::new());
    for kill in 0..4 {
        got.0.extend(ada.signals(&peers.1, quarter).await);
        got.1.extend(ben.signals(&peers.0, quarter).await);
        if kill < 3 {
            let mut stopped = node;
            node = tokio::task::spawn_blocking(move || {
                stopped.kill_and_restart();
                stopped
            })
            .await
            .unwrap();
        }
    }
    let all: Vec<Value> = (0..COUNT).map(Value::from).collect();
    assert_eq!(got.0, all);
    assert_eq!(got.1, all);
    ada.delivered(&peers.1, COUNT).await;
    ben.delivered(&peers.0, COUNT).await;
    assert_eq!((ada.welcome["type"].as_str(), ada.peer.as_str()), (Some("rebuilt"), peers.0.as_str()));
    assert_eq!((ben.welcome["type"].as_str(), ben.peer.as_str()), (Some("rebuilt"), peers.1.as_str()));
}

/// Whom the room itself sends away after a restart may join afresh on the same socket.
#[tokio::test]
async fn gone_from_the_room_leaves_the_socket_for_a_fresh_join() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let mut ada = ByHand::open(node.http).await;
    let welcome = ada.join(json!({ "room": "room", "identity": "ada" })).await;
    node.kill_and_restart();
    // Another window of hers was quicker; what she had before is older.
    let mut newer = ByHand::open(node.http).await;
    assert_eq!(newer.join(json!({ "room": "room", "identity": "ada" })).await["type"], "welcome");

    let mut ada = ByHand::open(node.http).await;
    let gone = ada.join(json!({ "room": "room", "resume": welcome["resume"] })).await;
    assert_eq!((&gone["type"], &gone["reason"]), (&json!("gone"), &json!("replaced")), "{gone}");
    let again = ada.join(json!({ "room": "room", "identity": "ada" })).await;
    assert_eq!(again["type"], "welcome", "{again}");
    assert_ne!(again["peer"], welcome["peer"]);
    assert_eq!(newer.hear_a("closed").await["code"], "replaced");
}
