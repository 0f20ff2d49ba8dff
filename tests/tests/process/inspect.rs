//! An operator sees on any node what passes a room of another one: once, in order, without its secrets.

use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::cluster::Cluster;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_secs(20);

/// A stream of server-sent events of a node's API.
pub(crate) struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    pub(crate) async fn open(cluster: &Cluster, node: u64, path: &str) -> Self {
        let member = cluster.nodes.iter().find(|member| member.id == node).unwrap();
        let token = std::fs::read_to_string(member.dir().join("admin-token")).unwrap();
        let mut stream = TcpStream::connect(member.http).await.unwrap();
        let head = format!(
            "GET /admin/api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            member.http,
            token.trim()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads on until that is said.
    pub(crate) async fn until(&mut self, words: &str) {
        let read = async {
            while !self.text.contains(words) {
                let mut piece = [0; 4096];
                let len = self.stream.read(&mut piece).await.unwrap();
                assert!(len > 0, "the stream ended: {}", self.text);
                self.text += &String::from_utf8_lossy(&piece[..len]);
            }
        };
        if tokio::time::timeout(WITHIN, read).await.is_err() {
            panic!("never {words}: {}", self.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_one_node_is_watched_from_another() {
    let cluster = tokio::task::block_in_place(|| Cluster::on_loopback(3));
    let room = tokio::task::block_in_place(|| cluster.room_of(1));
    let path = format!("/apps/default/rooms/{room}/signals");
    let mut events = Events::open(&cluster, 2, &format!("{path}/events")).await;
    events.until("event: absent").await;
    let join = async |node| {
        let mut client = ByHand::open(cluster.at(node)).await;
        let welcome = client.join(json!({ "room": room })).await;
        (client, welcome["peer"].as_str().unwrap().to_owned())
    };
    let (mut ada, ada_is) = join(1).await;
    let (mut ben, ben_is) = join(3).await;
    events.until("event: watching").await;
    let sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:QwEr\r\na=ice-pwd:hidden\r\na=rtpmap:111 opus/48000/2\r\n";
    let signal = |to: &str, kind: &str, payload: Value| json!({ "type": "signal", "to": to, "id": 1, "kind": kind, "payload": payload });
    // Both ways: from the gateway that runs the room, and from another one.
    ada.say(signal(&ben_is, "offer", json!({ "type": "offer", "sdp": sdp }))).await;
    ben.hear_a("signal").await;
    ben.say(json!({ "type": "ack", "from": ada_is, "id": 1 })).await;
    let line = "candidate:1 1 udp 1 198.51.100.77 9 typ host ufrag QwEr";
    ben.say(signal(&ada_is, "candidate", json!({ "candidate": line }))).await;
    ada.hear_a("delivered").await;
    events.until("198.51.100.0/24").await;
    let text = events.text.clone();
    for (words, times) in [
        ("\"kind\":\"offer\"", 1),
        ("\"kind\":\"candidate\"", 1),
        ("\"what\":\"ack\"", 1),
        ("opus/48000/2", 1),
    ] {
        assert_eq!(text.matches(words).count(), times, "{words} in {text}");
    }
    for secret in ["hidden", "QwEr", "198.51.100.77"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // How media goes its client alone knows: what it tells is seen by operators, and passes nobody else.
    let told = |state: &str| json!({ "type": "connections", "peers": { &ada_is: { "state": state, "local": "relay", "remote": "host" } } });
    ben.say(told("connected")).await;
    ben.say(told("well")).await;
    let refused = ben.hear_a("error").await;
    assert!(refused["message"].as_str().unwrap().starts_with("`peers` is not"), "{refused}");
    // The same by pages, of a third node; and nobody who asks for all is left out of the audit log.
    tokio::task::block_in_place(|| {
        let page = cluster.nodes[2].call("GET", &path, &Value::Null);
        let whats: Vec<&str> =
            page["signals"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
        assert!(whats.ends_with(&["signal", "ack", "signal"]), "{whats:?}");
        assert!(!page.to_string().contains("hidden") && page["missed"] == 0, "{page}");
        let ben =
            cluster.nodes[1].call("GET", &format!("/apps/default/rooms/{room}/peers/{ben_is}"), &Value::Null);
        let session = &ben["session"];
        assert_eq!((&ben["gateway"], &session["address"]), (&json!(3), &json!("127.0.0.0/24")), "{ben}");
        assert_eq!((&session["signals_sent"], &session["signals_received"]), (&json!(1), &json!(1)), "{ben}");
        let connection = json!({ "peer": ada_is, "state": "connected", "local": "relay", "remote": "host" });
        assert_eq!(session["connections"], json!([connection]), "{ben}");
        let plain = cluster.nodes[1].call("GET", &format!("{path}?plain=true&kind=offer"), &Value::Null);
        assert!(plain["signals"][0]["payload"]["sdp"].as_str().unwrap().contains("hidden"), "{plain}");
    });
}
