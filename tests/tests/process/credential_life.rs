//! A credential's life: its app says how long, a fresh one comes in time, and what was allocated by one goes on.

use chappe_tests::client::Client;
use chappe_tests::nodes::Node;
use chappe_tests::process::{WITHIN, until};
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::{Duration, Instant};

use super::edge_join::Edge;

/// How long the app's credentials last.
const TTL: Duration = Duration::from_secs(6);

/// When the next credential came, and that it came as the one before had a quarter of its life left.
async fn refreshed(ada: &mut Client, since: Instant) -> (Instant, Value) {
    loop {
        let offer = ada.hear_a("ice_servers").await;
        // It may be told of the edge that has just come, or be asked to measure it.
        if offer["reason"] == "expiring" {
            let (now, after) = (Instant::now(), since.elapsed());
            assert!(after < TTL, "{after:?}");
            assert_eq!(offer["ice_ttl_ms"], 6000);
            return (now, offer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_lasts_longer_than_its_credentials() {
    let tmp = tempfile::tempdir().unwrap();
    let begin = ["--found", "test", "--region", "a", "--anonymous", "--credential-ttl", "6"];
    let (node, edge) = block_in_place(|| {
        let node = Node::start(&tmp.path().join("node"), &begin);
        assert!(node.told(&["apps"]).contains("6 s"), "{}", node.told(&["apps"]));
        let token = node.invite(&["--edge", "edge-a"]);
        let edge = Edge::start(&tmp.path().join("edge"), &["--join", &token, "--region", "a"]);
        (node, edge)
    });
    let handed_out = async || {
        let ada = Client::join(node.http, json!({ "room": "wait" })).await;
        let servers = ada.welcome["ice_servers"].as_array();
        servers.is_some_and(|all| all.iter().any(|server| server["username"].is_string()))
    };
    until("the edge is handed out", WITHIN, handed_out).await;
    let mut ada = Client::join(node.http, json!({ "room": "room" })).await;
    let mut since = Instant::now();
    assert_eq!(ada.welcome["ice_ttl_ms"], 6000);
    let old = credentials(&ada.welcome);
    let mut turn = Turn::new(edge.udp, &old).await;
    let relayed = turn.allocate().await.unwrap();

    // More than twice a credential's life.
    let (begun, mut last) = (since, Value::Null);
    while begun.elapsed() < 2 * TTL {
        (since, last) = refreshed(&mut ada, since).await;
    }
    assert!(turn.refresh().await.is_ok(), "a client keeps the name that it began with");
    let fresh = credentials(&last);
    assert_ne!(fresh, old);
    let mut second = Turn::new(edge.udp, &fresh).await;
    let other = second.allocate().await.unwrap();
    turn.permit(other).await.unwrap();
    second.permit(relayed).await.unwrap();
    turn.send(other, b"still here").await;
    assert_eq!(second.data(WITHIN).await, Some((relayed, b"still here".to_vec())));
    let refused = Turn::new(edge.udp, &old).await.allocate().await;
    assert!(refused.is_err(), "the old one allocates: {refused:?}");

    block_in_place(|| {
        assert!(node.refused(&["credential-ttl", "default", "3"]).contains("seconds: 4 to 86400"));
        assert!(node.refused(&["credential-ttl", "shop", "60"]).contains("no such app"));
        assert!(node.told(&["credential-ttl", "default", "600"]).contains("last 600 s"));
    });
    let longer =
        async || Client::join(node.http, json!({ "room": "room" })).await.welcome["ice_ttl_ms"] == 600_000;
    until("who comes now has credentials of ten minutes", WITHIN, longer).await;
}
